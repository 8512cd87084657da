import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A transactional producer of the newest client, which speaks transactions of version 2 where the cluster has them.
 *
 * <pre>
 * Transactions rounds BOOTSTRAP TOPIC ID COUNT        COUNT transactions of two records each, every third one aborted;
 *                                                     prints the producer id and epoch after the first and the last
 * Transactions copy BOOTSTRAP FROM TO GROUP ID COUNT  COUNT records in transactions of at most 10, offsets with them
 * Transactions fence BOOTSTRAP TOPIC ID               a second producer of the same id; the first one must be fenced
 * Transactions read BOOTSTRAP TOPIC COUNT             prints COUNT committed values, sorted
 * </pre>
 */
public final class Transactions {
    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "rounds" -> rounds(arguments[1], arguments[2], arguments[3], Integer.parseInt(arguments[4]));
            case "copy" -> copy(arguments);
            case "fence" -> fence(arguments[1], arguments[2], arguments[3]);
            case "read" -> read(arguments[1], arguments[2], Integer.parseInt(arguments[3]));
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static KafkaProducer<String, String> producer(String bootstrap, String id) {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "transactional.id", id, "linger.ms", 0);
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    private static KafkaConsumer<String, String> consumer(String bootstrap, String group) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("isolation.level", "read_committed");
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", false);
        settings.put("group.id", group);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    private static void rounds(String bootstrap, String topic, String id, int count) {
        try (KafkaProducer<String, String> producer = producer(bootstrap, id)) {
            producer.initTransactions();
            for (int round = 0; round < count; round++) {
                producer.beginTransaction();
                producer.send(new ProducerRecord<>(topic, 0, null, id + "-" + round + "-a"));
                producer.send(new ProducerRecord<>(topic, 1, null, id + "-" + round + "-b"));
                if (round % 3 == 2) {
                    producer.flush();
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                }
            }
        }
    }

    private static void copy(String[] arguments) {
        String bootstrap = arguments[1];
        int left = Integer.parseInt(arguments[6]);
        try (KafkaConsumer<String, String> consumer = consumer(bootstrap, arguments[4]);
                KafkaProducer<String, String> producer = producer(bootstrap, arguments[5])) {
            producer.initTransactions();
            consumer.subscribe(List.of(arguments[2]));
            while (left > 0) {
                List<ConsumerRecord<String, String>> batch = new ArrayList<>();
                consumer.poll(Duration.ofSeconds(1)).forEach(batch::add);
                for (int begin = 0; begin < batch.size(); begin += 10) {
                    Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                    producer.beginTransaction();
                    for (ConsumerRecord<String, String> record : batch.subList(begin, Math.min(begin + 10, batch.size()))) {
                        producer.send(new ProducerRecord<>(arguments[3], record.value()));
                        offsets.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
                        left--;
                    }
                    producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                    producer.commitTransaction();
                }
            }
        }
    }

    private static void fence(String bootstrap, String topic, String id) {
        try (KafkaProducer<String, String> first = producer(bootstrap, id); KafkaProducer<String, String> second = producer(bootstrap, id)) {
            first.initTransactions();
            first.beginTransaction();
            first.send(new ProducerRecord<>(topic, 0, null, "zombie-open"));
            first.flush();
            second.initTransactions();
            second.beginTransaction();
            second.send(new ProducerRecord<>(topic, 0, null, "second"));
            second.commitTransaction();
            try {
                first.send(new ProducerRecord<>(topic, 0, null, "zombie-late"));
                first.commitTransaction();
                System.out.println("not fenced");
            } catch (ProducerFencedException | org.apache.kafka.common.errors.InvalidProducerEpochException fenced) {
                System.out.println("fenced");
            }
        }
    }

    private static void read(String bootstrap, String topic, int count) {
        TreeSet<String> values = new TreeSet<>();
        try (KafkaConsumer<String, String> consumer = consumer(bootstrap, "reader")) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(each -> partitions.add(new TopicPartition(topic, each.partition())));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            while (values.size() < count) {
                consumer.poll(Duration.ofSeconds(1)).forEach(record -> values.add(record.value()));
            }
        }
        values.forEach(System.out::println);
    }
}
