import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes the records of a file to a topic, or the records of a topic to a file; records.py has the form of the file.
 *
 * <pre>
 * RoundTrip produce BOOTSTRAP TOPIC CODEC FILE
 * RoundTrip consume BOOTSTRAP TOPIC FILE SECONDS COUNT...     COUNT: records to read of partition 0, 1, ...
 * </pre>
 */
public final class RoundTrip {
    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "produce" -> produce(arguments[1], arguments[2], arguments[3], arguments[4]);
            case "consume" -> consume(arguments);
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static void produce(String bootstrap, String topic, String codec, String file) throws Exception {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", bootstrap, "compression.type", codec, "acks", "all", "enable.idempotence", true, "linger.ms", 5);
        AtomicReference<Exception> failure = new AtomicReference<>();
        ByteArraySerializer plain = new ByteArraySerializer();
        try (DataInputStream input = new DataInputStream(new BufferedInputStream(new FileInputStream(file), 1 << 20));
                KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, plain, plain)) {
            for (ProducerRecord<byte[], byte[]> record = read(input, topic); record != null; record = read(input, topic)) {
                producer.send(record, (metadata, exception) -> failure.compareAndSet(null, exception));
            }
            producer.flush();
        }
        if (failure.get() != null) {
            throw failure.get();
        }
    }

    private static void consume(String[] arguments) throws IOException {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", arguments[1], "enable.auto.commit", false, "auto.offset.reset", "earliest", "check.crcs", true);
        List<TopicPartition> partitions = new ArrayList<>();
        long[] left = new long[arguments.length - 5];
        for (int partition = 0; partition < left.length; partition++) {
            partitions.add(new TopicPartition(arguments[2], partition));
            left[partition] = Long.parseLong(arguments[5 + partition]);
        }
        long deadline = System.nanoTime() + Long.parseLong(arguments[4]) * 1_000_000_000L;
        ByteArrayDeserializer plain = new ByteArrayDeserializer();
        try (DataOutputStream output = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(arguments[3]), 1 << 20));
                KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, plain, plain)) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            while (anyPositive(left)) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("out of time with records missing, per partition: " + java.util.Arrays.toString(left));
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    left[record.partition()]--;
                    write(output, record);
                }
            }
        }
    }

    private static boolean anyPositive(long[] numbers) {
        for (long number : numbers) {
            if (number > 0) {
                return true;
            }
        }
        return false;
    }

    private static ProducerRecord<byte[], byte[]> read(DataInputStream input, String topic) throws IOException {
        int partition;
        try {
            partition = input.readInt();
        } catch (EOFException end) {
            return null;
        }
        input.readLong();
        long timestamp = input.readLong();
        byte[] key = readBlob(input);
        byte[] value = readBlob(input);
        int headerCount = input.readInt();
        List<Header> headers = new ArrayList<>(headerCount);
        for (int index = 0; index < headerCount; index++) {
            headers.add(new RecordHeader(new String(readBlob(input), StandardCharsets.UTF_8), readBlob(input)));
        }
        return new ProducerRecord<>(topic, partition, timestamp, key, value, headers);
    }

    private static void write(DataOutputStream output, ConsumerRecord<byte[], byte[]> record) throws IOException {
        if (record.timestampType() != TimestampType.CREATE_TIME) {
            throw new IllegalStateException("timestamp type " + record.timestampType() + " at offset " + record.offset());
        }
        output.writeInt(record.partition());
        output.writeLong(record.offset());
        output.writeLong(record.timestamp());
        writeBlob(output, record.key());
        writeBlob(output, record.value());
        output.writeInt(record.headers().toArray().length);
        for (Header header : record.headers()) {
            writeBlob(output, header.key().getBytes(StandardCharsets.UTF_8));
            writeBlob(output, header.value());
        }
    }

    private static byte[] readBlob(DataInputStream input) throws IOException {
        int length = input.readInt();
        if (length < 0) {
            return null;
        }
        byte[] blob = new byte[length];
        input.readFully(blob);
        return blob;
    }

    private static void writeBlob(DataOutputStream output, byte[] blob) throws IOException {
        output.writeInt(blob == null ? -1 : blob.length);
        if (blob != null) {
            output.write(blob);
        }
    }
}
