// A conversation with the broker at the address given, through Kafka's own Java client; prints one "name=value" line per step, for test_java_kafka.py to check.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.*;

public class KafkaProgram {
    static final long SECONDS = 30;
    static String bootstrap;
    static Admin admin;
    static final List<String> topics = Collections.synchronizedList(new ArrayList<>());

    static synchronized void say(String what, Object value) {
        System.out.println(what + "=" + value);
    }

    static String unique() {
        return "interop." + UUID.randomUUID().toString().substring(0, 12);
    }

    static String topic(int partitions, String... configuration) throws Exception {
        String name = unique();
        topics.add(name);
        Map<String, String> entries = new HashMap<>();
        for (int at = 0; at < configuration.length; at += 2) entries.put(configuration[at], configuration[at + 1]);
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(entries))).all().get(SECONDS, TimeUnit.SECONDS);
        return name;
    }

    static Producer<byte[], byte[]> producer(String... configuration) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "max.block.ms", 20_000));
        for (int at = 0; at < configuration.length; at += 2) all.put(configuration[at], configuration[at + 1]);
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static Consumer<byte[], byte[]> consumer(String group, String... configuration) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", "false", "fetch.max.wait.ms", "100"));
        if (!List.of(configuration).contains("consumer")) all.put("heartbeat.interval.ms", "300");
        for (int at = 0; at < configuration.length; at += 2) all.put(configuration[at], configuration[at + 1]);
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static byte[] octets(Object what) {
        return String.valueOf(what).getBytes();
    }

    interface Condition {
        boolean holds() throws Exception;
    }

    static void until(Condition condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
        while (!condition.holds()) if (System.nanoTime() > end) throw new java.util.concurrent.TimeoutException("not within " + SECONDS + " s");
    }

    static List<ConsumerRecord<byte[], byte[]>> take(Consumer<byte[], byte[]> consumer, int count) throws Exception {
        List<ConsumerRecord<byte[], byte[]>> taken = new ArrayList<>();
        until(() -> {
            consumer.poll(Duration.ofMillis(100)).forEach(taken::add);
            return taken.size() >= count;
        });
        return taken;
    }

    static void fields() throws Exception {
        for (String compression : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            String name = topic(1);
            List<RecordMetadata> reports = new ArrayList<>();
            try (Producer<byte[], byte[]> producer = producer("compression.type", compression, "linger.ms", "20")) {
                List<Future<RecordMetadata>> futures = new ArrayList<>();
                for (int number = 0; number < 200; number++) {
                    List<Header> headers = List.of(new RecordHeader("n", octets(number)), new RecordHeader("n", octets("again")), new RecordHeader("null", null));
                    futures.add(producer.send(new ProducerRecord<>(name, 0, 1_700_000_000_000L + number, number % 3 == 0 ? null : octets("k" + number), number % 7 == 6 ? null : octets(number), headers)));
                }
                for (Future<RecordMetadata> future : futures) reports.add(future.get(SECONDS, TimeUnit.SECONDS));
            }
            boolean good = true;
            try (Consumer<byte[], byte[]> consumer = consumer(unique())) {
                consumer.assign(List.of(new TopicPartition(name, 0)));
                consumer.seekToBeginning(consumer.assignment());
                List<ConsumerRecord<byte[], byte[]>> got = take(consumer, 200);
                for (int number = 0; number < 200; number++) {
                    ConsumerRecord<byte[], byte[]> record = got.get(number);
                    good &= record.offset() == number && reports.get(number).offset() == number && record.timestamp() == 1_700_000_000_000L + number && record.timestampType() == TimestampType.CREATE_TIME;
                    good &= Arrays.equals(record.key(), number % 3 == 0 ? null : octets("k" + number)) && Arrays.equals(record.value(), number % 7 == 6 ? null : octets(number));
                    Header[] headers = record.headers().toArray();
                    good &= headers.length == 3 && Arrays.equals(headers[0].value(), octets(number)) && new String(headers[1].value()).equals("again") && headers[2].value() == null;
                }
            }
            say("fields " + compression, good);
        }
    }

    static void compressedAnew() throws Exception {
        for (String wanted : List.of("uncompressed", "gzip", "snappy", "lz4", "zstd")) {
            String name = topic(1, "compression.type", wanted);
            List<String> sent = new ArrayList<>();
            for (String compression : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                try (Producer<byte[], byte[]> producer = producer("compression.type", compression, "linger.ms", "20", "batch.size", "200000")) {
                    for (int number = 0; number < 2000; number++) {
                        sent.add(compression + " " + number + " ".repeat(number % 90));
                        List<Header> headers = List.of(new RecordHeader("n", octets(number)));
                        producer.send(new ProducerRecord<byte[], byte[]>(name, 0, null, octets(sent.get(sent.size() - 1)), headers));
                    }
                }
            }
            try (Consumer<byte[], byte[]> consumer = consumer(unique(), "check.crcs", "true")) {
                consumer.assign(List.of(new TopicPartition(name, 0)));
                consumer.seekToBeginning(consumer.assignment());
                List<ConsumerRecord<byte[], byte[]>> got = take(consumer, sent.size());
                boolean good = got.stream().map(record -> new String(record.value())).toList().equals(sent);
                for (int number = 0; number < sent.size(); number++) good &= new String(got.get(number).headers().lastHeader("n").value()).equals("" + number % 2000);
                say("compressed anew " + wanted, good);
            }
        }
    }

    static void acks() throws Exception {
        for (String acks : List.of("0", "1", "all")) {
            String name = topic(1);
            try (Producer<byte[], byte[]> producer = producer("acks", acks, "enable.idempotence", acks.equals("all") ? "true" : "false")) {
                for (int number = 0; number < 1000; number++) producer.send(new ProducerRecord<>(name, octets(number)));
                producer.flush();
            }
            try (Consumer<byte[], byte[]> consumer = consumer(unique())) {
                consumer.assign(List.of(new TopicPartition(name, 0)));
                consumer.seekToBeginning(consumer.assignment());
                List<Integer> got = take(consumer, 1000).stream().map(record -> Integer.parseInt(new String(record.value()))).toList();
                say("acks " + acks, got.equals(IntStream.range(0, 1000).boxed().toList()));
            }
        }
    }

    static void group(String protocol) throws Exception {
        String name = topic(4);
        String group = unique();
        String[] options = {"group.protocol", protocol};
        int[] revoked = {0};
        ConsumerRebalanceListener listener = new ConsumerRebalanceListener() {
            public void onPartitionsRevoked(Collection<TopicPartition> parts) { revoked[0] += parts.size(); }
            public void onPartitionsAssigned(Collection<TopicPartition> parts) { }
        };
        try (Producer<byte[], byte[]> producer = producer(); Consumer<byte[], byte[]> one = consumer(group, options)) {
            one.subscribe(List.of(name), listener);
            until(() -> { one.poll(Duration.ofMillis(50)); return one.assignment().size() == 4; });
            try (Consumer<byte[], byte[]> two = consumer(group, options)) {
                two.subscribe(List.of(name));
                until(() -> { one.poll(Duration.ofMillis(50)); two.poll(Duration.ofMillis(50)); return one.assignment().size() == 2 && two.assignment().size() == 2; });
                say(protocol + " disjoint", Collections.disjoint(one.assignment(), two.assignment()));
                for (int number = 0; number < 40; number++) producer.send(new ProducerRecord<>(name, number % 4, null, octets(number)));
                producer.flush();
                Set<Integer> seen = new TreeSet<>();
                for (Consumer<byte[], byte[]> member : List.of(one, two)) {
                    for (ConsumerRecord<byte[], byte[]> record : take(member, 20)) seen.add(Integer.parseInt(new String(record.value())));
                    member.commitSync();
                }
                say(protocol + " seen", seen.size());
                ConsumerGroupDescription description = admin.describeConsumerGroups(List.of(group)).all().get(SECONDS, TimeUnit.SECONDS).get(group);
                say(protocol + " described", description.groupState() + " " + description.type() + " " + description.members().size());
            }
            until(() -> { one.poll(Duration.ofMillis(50)); return one.assignment().size() == 4; });
            say(protocol + " revoked", revoked[0] >= 2);
            one.commitSync(Map.of(new TopicPartition(name, 3), new OffsetAndMetadata(7, "seven")));
        }
        Map<TopicPartition, OffsetAndMetadata> offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get(SECONDS, TimeUnit.SECONDS);
        say(protocol + " committed", IntStream.range(0, 4).mapToObj(part -> offsets.get(new TopicPartition(name, part)).offset() + offsets.get(new TopicPartition(name, part)).metadata()).toList());
        try (Consumer<byte[], byte[]> again = consumer(group, options)) {
            again.subscribe(List.of(name));
            say(protocol + " resumed", take(again, 3).stream().map(record -> record.partition() + ":" + record.offset()).toList());
        }
        until(() -> admin.describeConsumerGroups(List.of(group)).all().get(SECONDS, TimeUnit.SECONDS).get(group).groupState() == GroupState.EMPTY);
        say(protocol + " listed", admin.listGroups().all().get(SECONDS, TimeUnit.SECONDS).stream().anyMatch(each -> each.groupId().equals(group)));
        admin.alterConsumerGroupOffsets(group, Map.of(new TopicPartition(name, 0), new OffsetAndMetadata(1))).all().get(SECONDS, TimeUnit.SECONDS);
        admin.deleteConsumerGroupOffsets(group, Set.of(new TopicPartition(name, 1))).all().get(SECONDS, TimeUnit.SECONDS);
        Map<TopicPartition, OffsetAndMetadata> left = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get(SECONDS, TimeUnit.SECONDS);
        say(protocol + " altered", left.get(new TopicPartition(name, 0)).offset() + " " + left.get(new TopicPartition(name, 1)));
        admin.deleteConsumerGroups(List.of(group)).all().get(SECONDS, TimeUnit.SECONDS);
        say(protocol + " deleted", admin.listGroups().all().get(SECONDS, TimeUnit.SECONDS).stream().noneMatch(each -> each.groupId().equals(group)));
    }

    static void classicGroup() throws Exception {
        group("classic");
    }

    static void consumerGroup() throws Exception {
        group("consumer");
    }

    static void cooperative() throws Exception {
        String name = topic(4);
        String group = unique();
        String[] options = {"partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"};
        int[] revoked = {0};
        ConsumerRebalanceListener listener = new ConsumerRebalanceListener() {
            public void onPartitionsRevoked(Collection<TopicPartition> parts) { revoked[0] += parts.size(); }
            public void onPartitionsAssigned(Collection<TopicPartition> parts) { }
        };
        try (Consumer<byte[], byte[]> one = consumer(group, options); Consumer<byte[], byte[]> two = consumer(group, options)) {
            one.subscribe(List.of(name), listener);
            until(() -> { one.poll(Duration.ofMillis(50)); return one.assignment().size() == 4; });
            two.subscribe(List.of(name));
            until(() -> { one.poll(Duration.ofMillis(50)); two.poll(Duration.ofMillis(50)); return one.assignment().size() == 2 && two.assignment().size() == 2; });
            say("cooperative revoked", revoked[0]);
        }
    }

    static void staticMembers() throws Exception {
        String name = topic(4);
        String group = unique();
        try (Consumer<byte[], byte[]> one = consumer(group, "group.instance.id", "one")) {
            one.subscribe(List.of(name));
            Set<TopicPartition> before;
            try (Consumer<byte[], byte[]> two = consumer(group, "group.instance.id", "two")) {
                two.subscribe(List.of(name));
                until(() -> { one.poll(Duration.ofMillis(50)); two.poll(Duration.ofMillis(50)); return one.assignment().size() == 2 && two.assignment().size() == 2; });
                before = Set.copyOf(two.assignment());
            }
            try (Consumer<byte[], byte[]> again = consumer(group, "group.instance.id", "two")) {
                again.subscribe(List.of(name));
                until(() -> { one.poll(Duration.ofMillis(50)); again.poll(Duration.ofMillis(50)); return again.assignment().size() == 2; });
                say("static", again.assignment().equals(before) && one.assignment().size() == 2);
            }
        }
        admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("one"), new MemberToRemove("two")))).all().get(SECONDS, TimeUnit.SECONDS);
        say("removed", admin.describeConsumerGroups(List.of(group)).all().get(SECONDS, TimeUnit.SECONDS).get(group).members().size());
    }

    static void positions() throws Exception {
        String name = topic(2);
        TopicPartition part = new TopicPartition(name, 0);
        try (Producer<byte[], byte[]> producer = producer("linger.ms", "10"); Consumer<byte[], byte[]> consumer = consumer(unique())) {
            for (int number = 0; number < 50; number++) producer.send(new ProducerRecord<>(name, 0, 1_700_000_000_000L + number * 1000, null, octets(number)));
            producer.flush();
            consumer.assign(List.of(part));
            say("ends", consumer.beginningOffsets(List.of(part)).get(part) + " " + consumer.endOffsets(List.of(part)).get(part));
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(part, 1_700_000_020_500L)).get(part);
            say("byTime", found.offset() + " " + found.timestamp());
            consumer.seek(part, 45);
            say("sought", take(consumer, 5).stream().map(record -> new String(record.value())).toList());
            consumer.seekToEnd(List.of(part));
            say("position", consumer.position(part));
            say("lag", consumer.currentLag(part).isPresent());
            Map<TopicPartition, OffsetSpec> specs = Map.of(part, OffsetSpec.maxTimestamp());
            say("maxTimestamp", admin.listOffsets(specs).all().get(SECONDS, TimeUnit.SECONDS).get(part).offset());
            admin.deleteRecords(Map.of(part, RecordsToDelete.beforeOffset(30))).all().get(SECONDS, TimeUnit.SECONDS);
            say("trimmed", consumer.beginningOffsets(List.of(part)).get(part));
            consumer.seek(part, 2); // gone: from the beginning that is left
            say("reset", new String(take(consumer, 1).get(0).value()));
        }
    }

    static <T extends Throwable> String failure(Future<?> future) throws Exception {
        try {
            future.get(SECONDS, TimeUnit.SECONDS);
            return "none";
        } catch (ExecutionException error) {
            return error.getCause().getClass().getSimpleName();
        }
    }

    static void administration() throws Exception {
        String name = topic(2, "retention.ms", "60000");
        say("listed", admin.listTopics().names().get(SECONDS, TimeUnit.SECONDS).contains(name));
        TopicDescription description = admin.describeTopics(List.of(name)).allTopicNames().get(SECONDS, TimeUnit.SECONDS).get(name);
        say("described", description.partitions().size() + " " + !description.topicId().equals(Uuid.ZERO_UUID));
        TopicDescription byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(description.topicId()))).allTopicIds().get(SECONDS, TimeUnit.SECONDS).get(description.topicId());
        say("byId", byId.name().equals(name));
        admin.createPartitions(Map.of(name, NewPartitions.increaseTo(3))).all().get(SECONDS, TimeUnit.SECONDS);
        say("partitions", admin.describeTopics(List.of(name)).allTopicNames().get(SECONDS, TimeUnit.SECONDS).get(name).partitions().size());
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry("max.message.bytes", "4321"), AlterConfigOp.OpType.SET)))).all().get(SECONDS, TimeUnit.SECONDS);
        Config config = admin.describeConfigs(List.of(resource)).all().get(SECONDS, TimeUnit.SECONDS).get(resource);
        say("configuration", config.get("retention.ms").value() + " " + config.get("max.message.bytes").value() + " " + config.get("cleanup.policy").isDefault());
        List<String> refused = new ArrayList<>();
        refused.add(failure(admin.createTopics(List.of(new NewTopic(name, 1, (short) 1))).all()));
        refused.add(failure(admin.createTopics(List.of(new NewTopic("a b", 1, (short) 1))).all()));
        refused.add(failure(admin.createTopics(List.of(new NewTopic(unique(), 1, (short) 1).configs(Map.of("no.such.key", "1")))).all()));
        refused.add(failure(admin.createPartitions(Map.of(name, NewPartitions.increaseTo(2))).all()));
        refused.add(failure(admin.deleteTopics(List.of(unique())).all()));
        refused.add(failure(admin.deleteConsumerGroups(List.of(unique())).all()));
        say("refused", refused);
        DescribeClusterResult cluster = admin.describeCluster();
        Node node = cluster.nodes().get(SECONDS, TimeUnit.SECONDS).iterator().next();
        say("address", node.host() + ":" + node.port());
        admin.deleteTopics(TopicCollection.ofTopicIds(List.of(description.topicId()))).all().get(SECONDS, TimeUnit.SECONDS);
        until(() -> !admin.listTopics().names().get(SECONDS, TimeUnit.SECONDS).contains(name));
        say("gone", true);
    }

    static void large() throws Exception {
        String name = topic(1, "max.message.bytes", "4000000");
        byte[] body = new byte[3_000_000];
        new Random(1).nextBytes(body);
        try (Producer<byte[], byte[]> producer = producer("max.request.size", "20000000"); Consumer<byte[], byte[]> consumer = consumer(unique(), "max.partition.fetch.bytes", "1000", "fetch.max.bytes", "1000")) {
            producer.send(new ProducerRecord<>(name, body)).get(SECONDS, TimeUnit.SECONDS);
            say("tooLarge", failure(producer.send(new ProducerRecord<>(name, Arrays.copyOf(body, 5_000_000)))));
            consumer.assign(List.of(new TopicPartition(name, 0)));
            consumer.seekToBeginning(consumer.assignment());
            say("large", Arrays.equals(take(consumer, 1).get(0).value(), body));
        }
    }

    static void threads() throws Exception {
        String name = topic(50);
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<?>> work = new ArrayList<>();
        for (int worker = 0; worker < 4; worker++) {
            work.add(pool.submit(() -> {
                try (Producer<byte[], byte[]> producer = producer()) {
                    for (int number = 0; number < 2000; number++) producer.send(new ProducerRecord<>(name, number % 50, null, octets(number)));
                }
            }));
        }
        for (Future<?> each : work) each.get(60, TimeUnit.SECONDS);
        pool.shutdown();
        try (Consumer<byte[], byte[]> consumer = consumer(unique())) {
            consumer.assign(IntStream.range(0, 50).mapToObj(part -> new TopicPartition(name, part)).toList());
            consumer.seekToBeginning(consumer.assignment());
            say("threads", take(consumer, 8000).size());
        }
    }

    interface Step {
        void run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        List<Step> steps = List.of(KafkaProgram::fields, KafkaProgram::compressedAnew, KafkaProgram::acks, KafkaProgram::classicGroup, KafkaProgram::consumerGroup, KafkaProgram::cooperative,
            KafkaProgram::staticMembers, KafkaProgram::positions, KafkaProgram::administration, KafkaProgram::large, KafkaProgram::threads);
        ExecutorService pool = Executors.newFixedThreadPool(4); // groups wait more than they work
        List<Future<?>> running = new ArrayList<>();
        for (Step step : steps) running.add(pool.submit(() -> {
            try {
                step.run();
            } catch (Throwable error) {
                error.printStackTrace();
            }
        }));
        for (Future<?> each : running) each.get();
        admin.deleteTopics(topics).topicNameValues().values().forEach(future -> { try { future.get(SECONDS, TimeUnit.SECONDS); } catch (Exception gone) { } });
        System.out.flush();
        System.exit(0); // whatever thread still waits
    }
}
