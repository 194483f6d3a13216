// A conversation with an SQS endpoint through the Java SDK v2; prints one "name=value" line per step, for test_sqs_java.py to check.

import java.net.URI;
import java.util.*;
import java.util.stream.*;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.services.sqs.SqsClient;
import software.amazon.awssdk.services.sqs.model.*;

public class SqsProgram {
  static void say(String name, Object value) {
    System.out.println(name + "=" + value);
  }

  public static void main(String[] words) {
    String name = words[1];
    try (SqsClient sqs = SqsClient.builder().endpointOverride(URI.create(words[0])).httpClient(UrlConnectionHttpClient.create()).build()) {
      messages(sqs, name);
      groups(sqs, name + ".fifo");
      errors(sqs, name);
      deadLetters(sqs, name);
    }
  }

  static void messages(SqsClient sqs, String name) {
    String url = sqs.createQueue(r -> r.queueName(name).tags(Map.of("a", "b")).attributes(Map.of(QueueAttributeName.VISIBILITY_TIMEOUT, "60"))).queueUrl();
    say("found", sqs.getQueueUrl(r -> r.queueName(name)).queueUrl().equals(url));
    say("tags", sqs.listQueueTags(r -> r.queueUrl(url)).tags());
    byte[] octets = new byte[256];
    for (int n = 0; n < 256; n++) octets[n] = (byte) n;
    Map<String, MessageAttributeValue> attributes = Map.of(
        "text", MessageAttributeValue.builder().dataType("String").stringValue("ü").build(),
        "number", MessageAttributeValue.builder().dataType("Number").stringValue("12.50").build(),
        "binary", MessageAttributeValue.builder().dataType("Binary").binaryValue(SdkBytes.fromByteArray(octets)).build());
    SendMessageResponse sent = sqs.sendMessage(r -> r.queueUrl(url).messageBody("hello €").messageAttributes(attributes));
    Message message = sqs.receiveMessage(r -> r.queueUrl(url).waitTimeSeconds(5).messageAttributeNames("All").messageSystemAttributeNames(MessageSystemAttributeName.ALL)).messages().get(0);
    say("same", message.messageId().equals(sent.messageId()) && message.body().equals("hello €") && message.messageAttributes().equals(attributes));
    say("count", message.attributes().get(MessageSystemAttributeName.APPROXIMATE_RECEIVE_COUNT));
    sqs.changeMessageVisibility(r -> r.queueUrl(url).receiptHandle(message.receiptHandle()).visibilityTimeout(0));
    Message again = sqs.receiveMessage(r -> r.queueUrl(url).waitTimeSeconds(5)).messages().get(0);
    sqs.deleteMessage(r -> r.queueUrl(url).receiptHandle(again.receiptHandle()));
    List<SendMessageBatchRequestEntry> entries = IntStream.range(0, 10)
        .mapToObj(n -> SendMessageBatchRequestEntry.builder().id("" + n).messageBody("" + n).delaySeconds(n == 3 ? 901 : 0).build()).collect(Collectors.toList());
    SendMessageBatchResponse batch = sqs.sendMessageBatch(r -> r.queueUrl(url).entries(entries));
    say("batch", batch.successful().size() + " " + batch.failed().stream().map(each -> each.id() + each.senderFault()).collect(Collectors.toList()));
    List<String> bodies = new ArrayList<>();
    while (bodies.size() < batch.successful().size()) {
      List<Message> got = sqs.receiveMessage(r -> r.queueUrl(url).maxNumberOfMessages(10).waitTimeSeconds(5)).messages();
      if (got.isEmpty()) break;
      List<DeleteMessageBatchRequestEntry> done = got.stream()
          .map(each -> DeleteMessageBatchRequestEntry.builder().id(each.messageId()).receiptHandle(each.receiptHandle()).build()).collect(Collectors.toList());
      sqs.deleteMessageBatch(r -> r.queueUrl(url).entries(done));
      got.forEach(each -> bodies.add(each.body()));
    }
    Collections.sort(bodies);
    say("bodies", bodies);
    say("empty", sqs.receiveMessage(r -> r.queueUrl(url)).hasMessages());
    say("waiting", sqs.getQueueAttributes(r -> r.queueUrl(url).attributeNames(QueueAttributeName.ALL)).attributes().get(QueueAttributeName.APPROXIMATE_NUMBER_OF_MESSAGES));
    String large = "x".repeat(1 << 20);
    sqs.sendMessage(r -> r.queueUrl(url).messageBody(large));
    say("large", sqs.receiveMessage(r -> r.queueUrl(url).waitTimeSeconds(5)).messages().get(0).body().equals(large));
    say("pages", sqs.listQueuesPaginator(r -> r.queueNamePrefix(name).maxResults(1)).queueUrls().stream().filter(url::equals).count());
    sqs.purgeQueue(r -> r.queueUrl(url));
    sqs.deleteQueue(r -> r.queueUrl(url));
  }

  static void groups(SqsClient sqs, String name) {
    String url = sqs.createQueue(r -> r.queueName(name).attributes(Map.of(QueueAttributeName.FIFO_QUEUE, "true", QueueAttributeName.CONTENT_BASED_DEDUPLICATION, "true"))).queueUrl();
    List<String> numbers = new ArrayList<>();
    for (String body : List.of("1", "2", "2", "3")) numbers.add(sqs.sendMessage(r -> r.queueUrl(url).messageBody(body).messageGroupId("g")).sequenceNumber());
    say("ascending", numbers.stream().sorted().collect(Collectors.toList()).equals(numbers));
    say("fifo", sqs.receiveMessage(r -> r.queueUrl(url).maxNumberOfMessages(10).waitTimeSeconds(5)).messages().stream().map(Message::body).collect(Collectors.toList()));
    sqs.deleteQueue(r -> r.queueUrl(url));
  }

  static void errors(SqsClient sqs, String name) {
    try {
      sqs.getQueueUrl(r -> r.queueName(name + "-nobody"));
    } catch (QueueDoesNotExistException error) {
      say("error", error.statusCode() + " " + error.awsErrorDetails().errorCode() + " " + (error.requestId() != null));
    }
    String url = sqs.createQueue(r -> r.queueName(name)).queueUrl();
    try {
      sqs.deleteMessage(r -> r.queueUrl(url).receiptHandle("garbage"));
    } catch (ReceiptHandleIsInvalidException error) {
      say("handle", error.awsErrorDetails().errorCode());
    }
    sqs.deleteQueue(r -> r.queueUrl(url));
  }

  static void deadLetters(SqsClient sqs, String name) {
    String dead = sqs.createQueue(r -> r.queueName(name + "-dead")).queueUrl();
    String arn = sqs.getQueueAttributes(r -> r.queueUrl(dead).attributeNames(QueueAttributeName.QUEUE_ARN)).attributes().get(QueueAttributeName.QUEUE_ARN);
    String policy = "{\"deadLetterTargetArn\":\"" + arn + "\",\"maxReceiveCount\":\"1\"}";
    String url = sqs.createQueue(r -> r.queueName(name + "-source").attributes(Map.of(QueueAttributeName.REDRIVE_POLICY, policy))).queueUrl();
    sqs.sendMessage(r -> r.queueUrl(url).messageBody("x"));
    sqs.receiveMessage(r -> r.queueUrl(url).waitTimeSeconds(5).visibilityTimeout(0));
    say("again", sqs.receiveMessage(r -> r.queueUrl(url)).messages().size());
    say("dead", sqs.receiveMessage(r -> r.queueUrl(dead).waitTimeSeconds(5)).messages().get(0).body());
    say("sources", sqs.listDeadLetterSourceQueues(r -> r.queueUrl(dead)).queueUrls().equals(List.of(url)));
    sqs.deleteQueue(r -> r.queueUrl(url));
    sqs.deleteQueue(r -> r.queueUrl(dead));
  }
}
