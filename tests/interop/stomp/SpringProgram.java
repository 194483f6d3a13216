// Spring's STOMP client over TCP (spring-messaging on Reactor Netty): what it saw, a line each.

import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.springframework.messaging.converter.StringMessageConverter;
import org.springframework.messaging.simp.stomp.ReactorNettyTcpStompClient;
import org.springframework.messaging.simp.stomp.StompCommand;
import org.springframework.messaging.simp.stomp.StompFrameHandler;
import org.springframework.messaging.simp.stomp.StompHeaders;
import org.springframework.messaging.simp.stomp.StompSession;
import org.springframework.messaging.simp.stomp.StompSessionHandlerAdapter;
import org.springframework.scheduling.concurrent.ThreadPoolTaskScheduler;

public class SpringProgram {
    static final int SECONDS = 20;

    record Received(StompHeaders headers, String body) {}

    static class Inbox implements StompFrameHandler {
        final LinkedBlockingQueue<Received> received = new LinkedBlockingQueue<>();

        public Type getPayloadType(StompHeaders headers) {
            return String.class;
        }

        public void handleFrame(StompHeaders headers, Object payload) {
            received.add(new Received(headers, (String) payload));
        }

        Received next() throws Exception {
            Received found = received.poll(SECONDS, TimeUnit.SECONDS);
            if (found == null) throw new IllegalStateException("no message in time");
            return found;
        }
    }

    static class Handler extends StompSessionHandlerAdapter {
        final CompletableFuture<String> error = new CompletableFuture<>();
        final CompletableFuture<StompHeaders> connected = new CompletableFuture<>();

        public void afterConnected(StompSession session, StompHeaders headers) {
            connected.complete(headers);
        }

        public Type getPayloadType(StompHeaders headers) {
            return String.class;
        }

        public void handleFrame(StompHeaders headers, Object payload) {
            error.complete(headers.getFirst("message"));
        }

        public void handleException(StompSession session, StompCommand command, StompHeaders headers, byte[] payload, Throwable exception) {
            exception.printStackTrace();
        }
    }

    static ReactorNettyTcpStompClient client;
    static String host;

    static StompSession connect(Handler handler, String passcode) throws Exception {
        StompHeaders headers = new StompHeaders();
        headers.setHost(host);
        headers.setLogin("guest");
        headers.setPasscode(passcode);
        StompSession session = client.connectAsync(headers, handler).get(SECONDS, TimeUnit.SECONDS);
        session.setAutoReceipt(true);
        return session;
    }

    static void await(StompSession.Receiptable asked) throws Exception {
        CompletableFuture<Void> done = new CompletableFuture<>();
        asked.addReceiptTask(() -> done.complete(null));
        asked.addReceiptLostTask(() -> done.completeExceptionally(new IllegalStateException("no receipt in time")));
        done.get(SECONDS, TimeUnit.SECONDS);
    }

    static StompHeaders to(String destination, String... more) {
        StompHeaders headers = new StompHeaders();
        headers.setDestination(destination);
        for (int at = 0; at < more.length; at += 2) headers.add(more[at], more[at + 1]);
        return headers;
    }

    static void say(String what, Object value) {
        System.out.println(what + "=" + value);
    }

    public static void main(String[] arguments) {
        int status = 1;
        try {
            run(arguments);
            status = 0;
        } catch (Throwable failure) {
            failure.printStackTrace();
        }
        System.exit(status);
    }

    static void run(String[] arguments) throws Exception {
        host = arguments[2];
        String queue = "/queue/" + arguments[3], topic = "/topic/" + arguments[3];
        ThreadPoolTaskScheduler scheduler = new ThreadPoolTaskScheduler();
        scheduler.initialize();
        client = new ReactorNettyTcpStompClient(arguments[0], Integer.parseInt(arguments[1]));
        client.setMessageConverter(new StringMessageConverter());
        client.setTaskScheduler(scheduler);
        client.setDefaultHeartbeat(new long[] {1000, 1000});

        Handler handler = new Handler();
        StompSession session = connect(handler, "guest");
        say("version", handler.connected.get(SECONDS, TimeUnit.SECONDS).getFirst("version"));

        Inbox inbox = new Inbox();
        await(session.subscribe(to(queue, "ack", "client-individual"), inbox));
        await(session.send(to(queue, "colour", "green:blue"), "h\u00e9llo"));
        Received first = inbox.next();
        say("first", first.body() + " " + first.headers().getFirst("colour"));
        session.acknowledge(first.headers().getAck(), false);
        Received again = inbox.next();
        say("again", again.body() + " " + again.headers().getFirst("redelivered"));
        session.acknowledge(again.headers().getAck(), true);

        List<StompSession.Receiptable> sent = new ArrayList<>();
        for (int number = 0; number < 500; number++) sent.add(session.send(to(queue), Integer.toString(number)));
        boolean inOrder = true;
        for (int number = 0; number < 500; number++) {
            Received one = inbox.next();
            inOrder &= one.body().equals(Integer.toString(number));
            session.acknowledge(one.headers().getAck(), true);
        }
        for (StompSession.Receiptable one : sent) await(one);
        say("inOrder", inOrder);

        String large = "\u4e2d".repeat(100_000);
        await(session.send(to(queue), large));
        Received whole = inbox.next();
        say("large", whole.body().equals(large));
        session.acknowledge(whole.headers().getAck(), true);

        StompSession other = connect(new Handler(), "guest");
        Inbox subscriber = new Inbox();
        await(other.subscribe(to(topic + ".*"), subscriber));
        await(session.send(to(topic + ".a"), "to all"));
        say("topic", subscriber.next().body());
        Thread.sleep(2500); // some heart-beats
        say("alive", session.isConnected() && other.isConnected());
        other.disconnect();

        try {
            Handler refused = new Handler();
            connect(refused, "wrong");
            say("password", "connected");
        } catch (ExecutionException refused) {
            say("password", "refused");
        }
        await(session.send(to(topic), "before the end"));
        session.send(to("/nowhere/x"), "x");
        say("error", handler.error.get(SECONDS, TimeUnit.SECONDS));
    }
}
