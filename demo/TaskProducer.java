// Writes Celery's tasks to a topic with Kafka's own client: a line of standard input is one task's arguments, as Celery encodes them.
// java -cp JARS TaskProducer.java BOOTSTRAP TOPIC QUEUE-FOR-ANSWERS

import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class TaskProducer {
    public static void main(String[] arguments) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", arguments[0], "acks", "all", "compression.type", "zstd", "linger.ms", 5);
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            int number = 0;
            for (String line; (line = lines.readLine()) != null; number++) {
                String id = String.valueOf(number);
                ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(arguments[1], octets(line));
                String[][] headers = {
                    {"lang", "py"}, {"task", "tasks.digest"}, {"id", id}, {"root_id", id}, // Celery's
                    {"content-type", "application/json"}, {"content-encoding", "utf-8"}, {"correlation-id", id}, {"reply-to", arguments[2]}, // AMQP's
                };
                for (String[] header : headers) record.headers().add(header[0], octets(header[1]));
                sent.add(producer.send(record));
            }
            for (Future<RecordMetadata> each : sent) each.get();
        }
    }

    static byte[] octets(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
