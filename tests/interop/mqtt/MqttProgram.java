// Conversations with the broker at HOST PORT through Eclipse Paho (3.1.1 and 5) and HiveMQ's client (3.1.1 and 5); prints one "name=value" line per step, for
// test_mqtt_java.py to check.

import com.hivemq.client.mqtt.MqttClient;
import com.hivemq.client.mqtt.MqttGlobalPublishFilter;
import com.hivemq.client.mqtt.datatypes.MqttQos;
import com.hivemq.client.mqtt.mqtt3.Mqtt3BlockingClient;
import com.hivemq.client.mqtt.mqtt3.message.publish.Mqtt3Publish;
import com.hivemq.client.mqtt.mqtt5.Mqtt5BlockingClient;
import com.hivemq.client.mqtt.mqtt5.message.publish.Mqtt5Publish;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;

public class MqttProgram {
    static final String ROOT = "java" + Long.toHexString(System.nanoTime());
    static String host;
    static int port;

    static void say(String what, Object value) {
        System.out.println(what + "=" + value);
    }

    static <T> T soon(BlockingQueue<T> queue) throws Exception {
        T got = queue.poll(20, TimeUnit.SECONDS);
        if (got == null) throw new TimeoutException("nothing came");
        return got;
    }

    static <T> List<T> soon(BlockingQueue<T> queue, int count) throws Exception {
        List<T> got = new ArrayList<>();
        while (got.size() < count) got.add(soon(queue));
        return got;
    }

    static byte[] octets(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static void paho3() throws Exception {
        String topic = ROOT + "/p3", url = "tcp://" + host + ":" + port;
        var options = new org.eclipse.paho.client.mqttv3.MqttConnectOptions();
        options.setMqttVersion(4);
        options.setCleanSession(false);
        var memory = new org.eclipse.paho.client.mqttv3.persist.MemoryPersistence();
        var reader = new org.eclipse.paho.client.mqttv3.MqttClient(url, ROOT + "r", memory);
        var writer = new org.eclipse.paho.client.mqttv3.MqttClient(url, ROOT + "w", new org.eclipse.paho.client.mqttv3.persist.MemoryPersistence());
        BlockingQueue<String> got = new LinkedBlockingQueue<>();
        reader.connect(options);
        reader.subscribe(topic + "/#", 2, (where, message) -> got.add(message.getQos() + ":" + message));
        writer.connect();
        for (int n = 0; n < 60; n++) writer.publish(topic + "/" + n % 3, octets("" + n), n % 3, false);
        List<String> all = soon(got, 60);
        boolean ordered = true;
        for (int qos = 0; qos < 3; qos++) {
            String mine = qos + ":";
            List<String> found = all.stream().filter(each -> each.startsWith(mine)).collect(Collectors.toList());
            for (int n = 0; n < 20; n++) ordered &= found.get(n).equals(mine + (3 * n + qos));
        }
        say("paho3.ordered", ordered);
        reader.disconnect();
        for (int n = 0; n < 5; n++) writer.publish(topic + "/away", octets("" + n), 1 + n % 2, false);
        reader.setCallback(new org.eclipse.paho.client.mqttv3.MqttCallback() {
            public void connectionLost(Throwable cause) { got.add("lost"); }
            public void messageArrived(String where, org.eclipse.paho.client.mqttv3.MqttMessage message) { got.add(message.toString()); }
            public void deliveryComplete(org.eclipse.paho.client.mqttv3.IMqttDeliveryToken token) { }
        });
        say("paho3.present", reader.connectWithResult(options).getSessionPresent());
        say("paho3.away", new TreeSet<>(soon(got, 5)));
        var other = new org.eclipse.paho.client.mqttv3.MqttClient(url, ROOT + "r", new org.eclipse.paho.client.mqttv3.persist.MemoryPersistence());
        other.connect();
        say("paho3.takenOver", soon(got));
        other.disconnect();
        writer.disconnect();
        for (var client : List.of(reader, writer, other)) client.close(true);
    }

    static void paho5() throws Exception {
        String topic = ROOT + "/p5", url = "tcp://" + host + ":" + port;
        var client = new org.eclipse.paho.mqttv5.client.MqttClient(url, ROOT + "5", new org.eclipse.paho.mqttv5.client.persist.MemoryPersistence());
        BlockingQueue<org.eclipse.paho.mqttv5.common.MqttMessage> got = new LinkedBlockingQueue<>();
        client.setCallback(new org.eclipse.paho.mqttv5.client.MqttCallback() {
            public void disconnected(org.eclipse.paho.mqttv5.client.MqttDisconnectResponse response) { }
            public void mqttErrorOccurred(org.eclipse.paho.mqttv5.common.MqttException error) { }
            public void messageArrived(String where, org.eclipse.paho.mqttv5.common.MqttMessage message) { got.add(message); }
            public void deliveryComplete(org.eclipse.paho.mqttv5.client.IMqttToken token) { }
            public void connectComplete(boolean again, String where) { }
            public void authPacketArrived(int code, org.eclipse.paho.mqttv5.common.packet.MqttProperties properties) { }
        });
        var options = new org.eclipse.paho.mqttv5.client.MqttConnectionOptions();
        options.setCleanStart(true);
        options.setTopicAliasMaximum(5);
        client.connect(options);
        client.subscribe(topic, 2);
        var properties = new org.eclipse.paho.mqttv5.common.packet.MqttProperties();
        properties.setContentType("text/plain");
        properties.setCorrelationData(octets("7"));
        properties.setResponseTopic("back");
        properties.setUserProperties(List.of(new org.eclipse.paho.mqttv5.common.packet.UserProperty("a", "1"), new org.eclipse.paho.mqttv5.common.packet.UserProperty("a", "2")));
        for (int qos = 0; qos < 3; qos++) {
            var message = new org.eclipse.paho.mqttv5.common.MqttMessage(octets("x"), qos, false, properties);
            client.publish(topic, message);
            var found = soon(got);
            var said = found.getProperties();
            String user = said.getUserProperties().stream().map(each -> each.getKey() + each.getValue()).collect(Collectors.joining());
            say("paho5.properties" + qos, found.getQos() + said.getContentType() + new String(said.getCorrelationData()) + said.getResponseTopic() + user);
        }
        client.disconnect();
        client.close(true);
    }

    static void hive3() throws Exception {
        String topic = ROOT + "/h3";
        Mqtt3BlockingClient client = MqttClient.builder().useMqttVersion3().identifier(ROOT + "h").serverHost(host).serverPort(port).buildBlocking();
        client.connect();
        try (Mqtt3BlockingClient.Mqtt3Publishes publishes = client.publishes(MqttGlobalPublishFilter.SUBSCRIBED)) {
            client.subscribeWith().topicFilter(topic + "/+").qos(MqttQos.EXACTLY_ONCE).send();
            List<String> found = new ArrayList<>();
            for (MqttQos qos : MqttQos.values()) {
                client.publishWith().topic(topic + "/a").qos(qos).payload(octets("x")).send();
                Mqtt3Publish got = publishes.receive(20, TimeUnit.SECONDS).get();
                found.add(got.getQos().getCode() + new String(got.getPayloadAsBytes()));
            }
            say("hive3.qos", found);
        }
        client.disconnect();
    }

    static void hive5() throws Exception {
        String topic = ROOT + "/h5";
        Mqtt5BlockingClient writer = MqttClient.builder().useMqttVersion5().serverHost(host).serverPort(port).buildBlocking();
        Mqtt5BlockingClient reader = MqttClient.builder().useMqttVersion5().identifier(ROOT + "i").serverHost(host).serverPort(port).buildBlocking();
        writer.connect();
        say("hive5.assigned", !writer.getConfig().getClientIdentifier().get().toString().isEmpty());
        var answer = reader.connectWith().cleanStart(true).sessionExpiryInterval(600).restrictions().receiveMaximum(5).topicAliasMaximum(4).applyRestrictions().send();
        say("hive5.present", answer.isSessionPresent());
        try (Mqtt5BlockingClient.Mqtt5Publishes publishes = reader.publishes(MqttGlobalPublishFilter.ALL, true)) {
            say("hive5.granted", reader.subscribeWith().addSubscription().topicFilter(topic + "/#").qos(MqttQos.EXACTLY_ONCE).noLocal(true).applySubscription()
                .addSubscription().topicFilter("$share/g/" + topic + "/shared").qos(MqttQos.AT_LEAST_ONCE).applySubscription().send().getReasonCodes());
            writer.publishWith().topic(topic + "/a").qos(MqttQos.AT_LEAST_ONCE).payload(octets("x")).contentType("text/plain").responseTopic("back")
                .correlationData(octets("7")).messageExpiryInterval(600).userProperties().add("a", "1").add("b", "2").applyUserProperties().send();
            Mqtt5Publish got = publishes.receive(20, TimeUnit.SECONDS).get();
            got.acknowledge();
            ByteBuffer correlation = got.getCorrelationData().get();
            say("hive5.properties", "" + got.getContentType().get() + (char) correlation.get() + got.getResponseTopic().get()
                + got.getUserProperties().asList().stream().map(each -> each.getName() + each.getValue().toString()).collect(Collectors.joining())
                + (got.getMessageExpiryInterval().getAsLong() > 590));
            for (int n = 0; n < 40; n++) writer.publishWith().topic(topic + "/many").qos(MqttQos.fromCode(1 + n % 2)).payload(octets("" + n)).send();
            TreeSet<Integer> numbers = new TreeSet<>();
            for (int n = 0; n < 40; n++) {
                Mqtt5Publish each = publishes.receive(20, TimeUnit.SECONDS).get();
                numbers.add(Integer.parseInt(new String(each.getPayloadAsBytes())));
                each.acknowledge();
            }
            say("hive5.many", numbers.size() + " " + numbers.first() + " " + numbers.last());
        }
        reader.disconnect();
        for (int n = 0; n < 3; n++) writer.publishWith().topic(topic + "/away").qos(MqttQos.EXACTLY_ONCE).payload(octets("" + n)).send();
        try (Mqtt5BlockingClient.Mqtt5Publishes publishes = reader.publishes(MqttGlobalPublishFilter.ALL)) {
            say("hive5.again", reader.connectWith().cleanStart(false).sessionExpiryInterval(600).send().isSessionPresent());
            List<String> found = new ArrayList<>();
            for (int n = 0; n < 3; n++) found.add(new String(publishes.receive(20, TimeUnit.SECONDS).get().getPayloadAsBytes()));
            say("hive5.away", found);
        }
        reader.disconnectWith().sessionExpiryInterval(0).send();
        writer.disconnect();
    }

    public static void main(String[] words) throws Exception {
        host = words[0];
        port = Integer.parseInt(words[1]);
        paho3();
        paho5();
        hive3();
        hive5();
        System.exit(0);
    }
}
