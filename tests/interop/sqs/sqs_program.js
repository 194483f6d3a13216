// A conversation with an SQS endpoint through the JavaScript SDK v3 and sqs-consumer; prints what it saw as JSON, for test_sqs_js.py to check.

const sdk = require("@aws-sdk/client-sqs");

const endpoint = process.env.AWS_ENDPOINT_URL_SQS;
const name = process.env.QUEUE;
const sqs = new sdk.SQSClient({ endpoint, maxAttempts: 1 });
const call = (Command, words) => sqs.send(new Command(words));
const said = {};

async function messages() {
  const { QueueUrl } = await call(sdk.CreateQueueCommand, { QueueName: name, tags: { a: "b" } });
  said.found = (await call(sdk.GetQueueUrlCommand, { QueueName: name })).QueueUrl === QueueUrl;
  said.tags = (await call(sdk.ListQueueTagsCommand, { QueueUrl })).Tags;
  const binary = Uint8Array.from([...Array(256).keys()]);
  const MessageAttributes = { text: { DataType: "String", StringValue: "ü" }, binary: { DataType: "Binary", BinaryValue: binary } };
  const sent = await call(sdk.SendMessageCommand, { QueueUrl, MessageBody: "hello €", MessageAttributes });
  const got = await call(sdk.ReceiveMessageCommand, { QueueUrl, WaitTimeSeconds: 5, MessageAttributeNames: ["All"], MessageSystemAttributeNames: ["All"] });
  const message = got.Messages[0];
  said.same = message.MessageId === sent.MessageId && message.Body === "hello €";
  said.attributes = [message.MessageAttributes.text.StringValue, Buffer.compare(Buffer.from(message.MessageAttributes.binary.BinaryValue), Buffer.from(binary))];
  said.count = message.Attributes.ApproximateReceiveCount;
  await call(sdk.ChangeMessageVisibilityCommand, { QueueUrl, ReceiptHandle: message.ReceiptHandle, VisibilityTimeout: 0 });
  const again = (await call(sdk.ReceiveMessageCommand, { QueueUrl, WaitTimeSeconds: 5 })).Messages[0];
  await call(sdk.DeleteMessageCommand, { QueueUrl, ReceiptHandle: again.ReceiptHandle });
  const Entries = [...Array(10).keys()].map((n) => ({ Id: `${n}`, MessageBody: n === 3 ? "bad" : `${n}`, DelaySeconds: n === 3 ? 901 : 0 }));
  const batch = await call(sdk.SendMessageBatchCommand, { QueueUrl, Entries });
  said.batch = [batch.Successful.length, (batch.Failed || []).map((each) => [each.Id, each.SenderFault])];
  const attributes = await call(sdk.GetQueueAttributesCommand, { QueueUrl, AttributeNames: ["All"] });
  said.waiting = attributes.Attributes.ApproximateNumberOfMessages;
  await call(sdk.PurgeQueueCommand, { QueueUrl });
  try {
    await call(sdk.GetQueueUrlCommand, { QueueName: `${name}-nobody` });
  } catch (error) {
    said.error = [error.name, error instanceof sdk.QueueDoesNotExist, error.$metadata.httpStatusCode, Boolean(error.$metadata.requestId)];
  }
  return QueueUrl;
}

async function groups() {
  const { QueueUrl } = await call(sdk.CreateQueueCommand, { QueueName: `${name}.fifo`, Attributes: { FifoQueue: "true", ContentBasedDeduplication: "true" } });
  for (const body of ["1", "2", "2", "3"]) await call(sdk.SendMessageCommand, { QueueUrl, MessageBody: body, MessageGroupId: "g" });
  const got = await call(sdk.ReceiveMessageCommand, { QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 5 });
  said.fifo = got.Messages.map((message) => message.Body);
  await call(sdk.DeleteQueueCommand, { QueueUrl });
}

// A worker library: handled messages are deleted, a failed one comes again.
async function consumer(QueueUrl) {
  const { Consumer } = await import("sqs-consumer");
  for (let first = 0; first < 30; first += 10) {
    await call(sdk.SendMessageBatchCommand, { QueueUrl, Entries: [...Array(10).keys()].map((n) => ({ Id: `${n}`, MessageBody: `job ${first + n}` })) });
  }
  const handled = [];
  let failures = 0;
  await new Promise((resolve, reject) => {
    const app = Consumer.create({
      queueUrl: QueueUrl,
      sqs,
      batchSize: 10,
      waitTimeSeconds: 5,
      terminateVisibilityTimeout: true,
      pollingCompleteWaitTimeMs: 20000, // stopped when the last one is deleted
      handleMessage: async (message) => {
        if (message.Body === "job 7" && failures === 0) {
          failures += 1;
          throw new Error("once");
        }
        handled.push(message.Body);
        if (handled.length === 30) app.stop({ abort: false });
        return message;
      },
    });
    app.on("error", reject);
    app.on("processing_error", () => {}); // the one that is meant
    app.on("stopped", resolve);
    app.start();
  });
  said.handled = [handled.length, new Set(handled).size, failures];
  const { Attributes } = await call(sdk.GetQueueAttributesCommand, { QueueUrl, AttributeNames: ["All"] });
  said.left = [Attributes.ApproximateNumberOfMessages, Attributes.ApproximateNumberOfMessagesNotVisible];
}

(async () => {
  const url = await messages();
  await groups();
  await consumer(url);
  await call(sdk.DeleteQueueCommand, { QueueUrl: url });
  console.log(JSON.stringify(said));
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
