import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicIdPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A share consumer that does what its input says, a line for each command, and answers a line for each; leaves when its input ends.
 *
 * <pre>
 * ShareMember TOPIC KEY=VALUE...
 *
 * poll MILLISECONDS              one poll                       partition:offset:deliveries:value ...
 * accept|release|reject|renew PARTITION:OFFSET ...              ok, or ! text
 * commit                         commitSync                     partition:ok or partition:error ...
 * </pre>
 */
public final class ShareMember {
    public static void main(String[] arguments) throws Exception {
        Map<String, Object> settings = new HashMap<>(Map.of("share.acknowledgement.mode", "explicit"));
        for (int i = 1; i < arguments.length; i++) {
            String[] pair = arguments[i].split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        StringDeserializer text = new StringDeserializer();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        try (KafkaShareConsumer<String, String> consumer = new KafkaShareConsumer<>(settings, text, text)) {
            consumer.subscribe(List.of(arguments[0]));
            Map<String, ConsumerRecord<String, String>> held = new LinkedHashMap<>();
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                String answer;
                try {
                    answer = answer(consumer, held, line.split(" "));
                } catch (RuntimeException exception) {
                    answer = "! " + exception;
                }
                System.out.println(answer);
                System.out.flush();
            }
        }
    }

    private static String answer(
            KafkaShareConsumer<String, String> consumer, Map<String, ConsumerRecord<String, String>> held, String[] words) {
        switch (words[0]) {
            case "poll" -> {
                return poll(consumer, held, Long.parseLong(words[1]));
            }
            case "commit" -> {
                return commit(consumer);
            }
            default -> {
                AcknowledgeType type = AcknowledgeType.valueOf(words[0].toUpperCase());
                for (int i = 1; i < words.length; i++) {
                    consumer.acknowledge(held.get(words[i]), type);
                }
                return "ok";
            }
        }
    }

    private static String poll(KafkaShareConsumer<String, String> consumer, Map<String, ConsumerRecord<String, String>> held, long milliseconds) {
        ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(milliseconds));
        StringBuilder answer = new StringBuilder();
        for (ConsumerRecord<String, String> record : records) {
            String name = record.partition() + ":" + record.offset();
            held.put(name, record);
            answer.append(name).append(':').append(record.deliveryCount().map(String::valueOf).orElse("?")).append(':').append(record.value()).append(' ');
        }
        return answer.toString().trim();
    }

    private static String commit(KafkaShareConsumer<String, String> consumer) {
        Map<TopicIdPartition, Optional<KafkaException>> results = consumer.commitSync(Duration.ofSeconds(30));
        StringBuilder answer = new StringBuilder();
        results.forEach((partition, failure) ->
                answer.append(partition.partition()).append(':').append(failure.map(found -> found.getClass().getSimpleName()).orElse("ok")).append(' '));
        return answer.toString().trim();
    }
}
