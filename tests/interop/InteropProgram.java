// A conversation with the broker at the URL given, through RabbitMQ's Java client; prints one "name=value" line per step, for test_java_client.py to check.

import com.rabbitmq.client.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

public class InteropProgram {
    static void say(String what, Object value) {
        System.out.println(what + "=" + value);
    }

    static <T> T soon(BlockingQueue<T> queue) throws Exception {
        T got = queue.poll(20, TimeUnit.SECONDS);
        if (got == null) throw new TimeoutException("nothing came");
        return got;
    }

    static void confirms(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        String queue = channel.queueDeclare().getQueue();
        channel.confirmSelect();
        ConcurrentSkipListSet<Long> open = new ConcurrentSkipListSet<>();
        AtomicInteger nacks = new AtomicInteger();
        channel.addConfirmListener(
            (tag, multiple) -> { if (multiple) open.headSet(tag, true).clear(); else open.remove(tag); },
            (tag, multiple) -> nacks.incrementAndGet());
        for (int number = 0; number < 1000; number++) {
            open.add(channel.getNextPublishSeqNo());
            channel.basicPublish("", queue, MessageProperties.PERSISTENT_TEXT_PLAIN, String.valueOf(number).getBytes());
        }
        channel.waitForConfirmsOrDie(20_000);
        say("confirmed", open.isEmpty() && nacks.get() == 0);
        say("counted", channel.messageCount(queue));
        channel.basicQos(50);
        BlockingQueue<Integer> bodies = new LinkedBlockingQueue<>();
        String tag = channel.basicConsume(queue, false, (consumer, delivery) -> {
            int number = Integer.parseInt(new String(delivery.getBody()));
            if (number % 10 == 9) channel.basicAck(delivery.getEnvelope().getDeliveryTag(), true);
            bodies.add(number);
        }, consumer -> { });
        boolean inOrder = true;
        for (int number = 0; number < 1000; number++) inOrder &= soon(bodies) == number;
        say("inOrder", inOrder);
        say("consumers", channel.consumerCount(queue));
        channel.basicCancel(tag);
        channel.close();
    }

    static void properties(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        String queue = channel.queueDeclare().getQueue();
        Map<String, Object> headers = new TreeMap<>();
        headers.put("int", 7);
        headers.put("long", 1L << 40);
        headers.put("double", 1.5);
        headers.put("float", 2.5f);
        headers.put("short", (short) 3);
        headers.put("byte", (byte) -4);
        headers.put("bool", true);
        headers.put("bytes", new byte[] {1, 2});
        headers.put("decimal", new java.math.BigDecimal("1.25"));
        headers.put("date", new Date(1_700_000_000_000L));
        headers.put("list", List.of(1, "two", Map.of("three", 3)));
        AMQP.BasicProperties sent = new AMQP.BasicProperties.Builder().headers(headers).contentType("c").priority(5).timestamp(new Date(1_700_000_000_000L)).type("t").build();
        channel.basicPublish("", queue, sent, new byte[0]);
        GetResponse got = channel.basicGet(queue, true);
        Map<String, Object> back = new TreeMap<>(got.getProps().getHeaders());
        back.replaceAll((key, value) -> value instanceof byte[] octets ? Arrays.toString(octets) : value instanceof LongString text ? text.toString() : value instanceof Date date ? date.getTime() : value);
        say("headers", back);
        say("properties", got.getProps().getContentType() + " " + got.getProps().getPriority() + " " + got.getProps().getTimestamp().getTime() + " " + got.getProps().getType());
        channel.close();
    }

    static void returns(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        BlockingQueue<Return> back = new LinkedBlockingQueue<>();
        channel.addReturnListener(back::add);
        channel.confirmSelect();
        channel.basicPublish("amq.direct", "interop.nowhere", true, null, "lost".getBytes());
        channel.waitForConfirmsOrDie(20_000);
        Return returned = soon(back);
        say("returned", returned.getReplyCode() + " " + returned.getReplyText() + " " + new String(returned.getBody()));
        channel.close();
    }

    static void deadLetters(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        String dead = channel.queueDeclare().getQueue();
        String queue = channel.queueDeclare("", false, true, false, Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", dead, "x-max-length", 1)).getQueue();
        channel.basicPublish("", queue, null, "first".getBytes());
        channel.basicPublish("", queue, null, "second".getBytes());
        BlockingQueue<Delivery> letters = new LinkedBlockingQueue<>();
        channel.basicConsume(dead, true, (consumer, delivery) -> letters.add(delivery), consumer -> { });
        Delivery letter = soon(letters);
        Map<?, ?> death = (Map<?, ?>) ((List<?>) letter.getProperties().getHeaders().get("x-death")).get(0);
        say("dead", new String(letter.getBody()) + " " + death.get("reason") + " " + death.get("count"));
        channel.close();
    }

    static void refusals(Connection connection) throws Exception {
        List<Integer> codes = new ArrayList<>();
        List<ThrowingConsumer> acts = List.of(
            channel -> channel.queueDeclarePassive("interop.nowhere"),
            channel -> channel.exchangeDeclare("amq.direct", "fanout", true),
            channel -> channel.exchangeDelete("amq.direct"),
            channel -> channel.exchangeBind("amq.fanout", "interop.nowhere", ""),
            channel -> { channel.basicAck(5, false); channel.queueDeclare(); });
        for (ThrowingConsumer act : acts) {
            Channel channel = connection.createChannel();
            try {
                act.accept(channel);
                codes.add(0);
            } catch (java.io.IOException | AlreadyClosedException error) {
                ShutdownSignalException signal = error instanceof AlreadyClosedException closed ? closed : (ShutdownSignalException) error.getCause();
                codes.add(((AMQP.Channel.Close) signal.getReason()).getReplyCode());
            }
        }
        say("refused", codes);
    }

    interface Step {
        void run(Connection connection) throws Exception;
    }

    interface ThrowingConsumer {
        void accept(Channel channel) throws java.io.IOException;
    }

    static void cancelled(Connection connection) throws Exception {
        Channel one = connection.createChannel();
        String queue = one.queueDeclare().getQueue();
        BlockingQueue<String> cancels = new LinkedBlockingQueue<>();
        String tag = one.basicConsume(queue, (consumer, delivery) -> { }, cancels::add);
        connection.createChannel().queueDelete(queue);
        say("cancelled", soon(cancels).equals(tag));
    }

    static void rpc(Connection connection) throws Exception {
        Channel serving = connection.createChannel();
        String queue = serving.queueDeclare().getQueue();
        RpcServer server = new RpcServer(serving, queue) {
            @Override
            public byte[] handleCall(Delivery request, AMQP.BasicProperties reply) {
                return (new String(request.getBody()) + " world").getBytes();
            }
        };
        Thread thread = new Thread(() -> { try { server.mainloop(); } catch (Exception ended) { } });
        thread.setDaemon(true);
        thread.start();
        RpcClient client = new RpcClient(new RpcClientParams().channel(connection.createChannel()).exchange("").routingKey(queue).timeout(20_000));
        say("rpc", client.stringCall("hello"));
        client.close();
        server.terminateMainloop();
    }

    // What a transacted listener does: each message in one commit with what comes of it; every third is rolled back and given back.
    static void transactions(Connection connection) throws Exception {
        Channel plain = connection.createChannel();
        String source = plain.queueDeclare().getQueue();
        String target = plain.queueDeclare().getQueue();
        for (int number = 0; number < 9; number++) plain.basicPublish("", source, null, String.valueOf(number).getBytes());
        Channel channel = connection.createChannel();
        channel.txSelect();
        CountDownLatch done = new CountDownLatch(9);
        channel.basicConsume(source, false, new DefaultConsumer(channel) {
            @Override
            public void handleDelivery(String tag, Envelope envelope, AMQP.BasicProperties properties, byte[] body) throws java.io.IOException {
                channel.basicPublish("", target, null, body);
                if (!envelope.isRedeliver() && Integer.parseInt(new String(body)) % 3 == 2) {
                    channel.txRollback();
                    channel.basicNack(envelope.getDeliveryTag(), false, true);
                    channel.txCommit();
                    return;
                }
                channel.basicAck(envelope.getDeliveryTag(), false);
                channel.txCommit();
                done.countDown();
            }
        });
        boolean all = done.await(20, TimeUnit.SECONDS);
        List<String> bodies = new ArrayList<>();
        for (GetResponse got = plain.basicGet(target, true); got != null; got = plain.basicGet(target, true)) bodies.add(new String(got.getBody()));
        Collections.sort(bodies);
        say("transacted", all + " " + bodies + " " + plain.messageCount(source));
    }

    static void threads(Connection connection) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(8);
        List<Future<Boolean>> results = new ArrayList<>();
        for (int worker = 0; worker < 16; worker++) {
            byte[] body = new byte[200_000];
            Arrays.fill(body, (byte) worker);
            results.add(pool.submit(() -> {
                Channel channel = connection.createChannel();
                String queue = channel.queueDeclare().getQueue();
                for (int round = 0; round < 5; round++) {
                    channel.basicPublish("", queue, null, body);
                    if (!Arrays.equals(body, channel.basicGet(queue, true).getBody())) return false;
                }
                channel.close();
                return true;
            }));
        }
        boolean all = true;
        for (Future<Boolean> result : results) all &= result.get(30, TimeUnit.SECONDS);
        pool.shutdown();
        say("threads", all);
    }

    public static void main(String[] arguments) throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(arguments[0]);
        factory.setRequestedHeartbeat(10);
        factory.setAutomaticRecoveryEnabled(false);
        List<Step> steps = List.of(InteropProgram::confirms, InteropProgram::properties, InteropProgram::returns, InteropProgram::deadLetters,
            InteropProgram::refusals, InteropProgram::cancelled, InteropProgram::rpc, InteropProgram::transactions, InteropProgram::threads);
        for (Step step : steps) {
            try (Connection connection = factory.newConnection("interop")) {
                step.run(connection);
            } catch (Exception error) {
                error.printStackTrace();
            }
        }
        try (Connection connection = factory.newConnection()) {
            say("product", connection.getServerProperties().containsKey("product"));
        }
        factory.setPassword("wrong");
        try (Connection connection = factory.newConnection()) {
            say("wrongPassword", "accepted");
        } catch (AuthenticationFailureException refused) {
            say("wrongPassword", "refused");
        }
        System.exit(0); // whatever thread still waits
    }
}
