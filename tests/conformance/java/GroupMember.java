import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A consumer in a group that says what happens to it, a line for each; commits what it has read; leaves when its input ends.
 *
 * <pre>
 * GroupMember TOPIC KEY=VALUE...      TOPIC: a name, or ^ and a regular expression, which the broker looks up
 *
 * + topic partition          assigned          r topic partition offset       read
 * - topic partition          revoked or lost   ! text                         error
 * </pre>
 */
public final class GroupMember {
    public static void main(String[] arguments) throws Exception {
        Map<String, Object> settings = new HashMap<>();
        for (int i = 1; i < arguments.length; i++) {
            String[] pair = arguments[i].split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        AtomicBoolean stopping = new AtomicBoolean();
        Thread input = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                }
            } catch (java.io.IOException exception) {
                say("! " + exception);
            }
            stopping.set(true);
        });
        input.setDaemon(true);
        input.start();
        ByteArrayDeserializer plain = new ByteArrayDeserializer();
        try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, plain, plain)) {
            subscribe(consumer, arguments[0]);
            while (!stopping.get()) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(100));
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    say("r " + record.topic() + " " + record.partition() + " " + record.offset());
                }
                if (!records.isEmpty()) {
                    commit(consumer);
                }
            }
        } catch (Exception exception) {
            say("! " + exception);
            throw exception;
        }
    }

    private static void commit(Consumer<byte[], byte[]> consumer) {
        try {
            consumer.commitSync();
        } catch (org.apache.kafka.clients.consumer.CommitFailedException | org.apache.kafka.common.errors.RebalanceInProgressException exception) {
            say("c " + exception);
        }
    }

    private static void subscribe(Consumer<byte[], byte[]> consumer, String topic) {
        ConsumerRebalanceListener listener = new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                partitions.forEach(partition -> say("+ " + partition.topic() + " " + partition.partition()));
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                partitions.forEach(partition -> say("- " + partition.topic() + " " + partition.partition()));
            }
        };
        if (!topic.startsWith("^")) {
            consumer.subscribe(java.util.List.of(topic), listener);
        } else {
            consumer.subscribe(new SubscriptionPattern(topic.substring(1)), listener);
        }
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
