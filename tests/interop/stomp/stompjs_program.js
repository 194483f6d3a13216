// stompjs over ws, as a page in a browser uses it: what it saw goes to the standard output as JSON.
"use strict";
const { Client } = require("@stomp/stompjs");
const WebSocket = require("ws");

const url = process.env.STOMP_WS_URL;
const host = process.env.STOMP_HOST;
const queue = `/queue/${process.env.QUEUE}`;
const seen = {};

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within 20 s: ${what}`)), 20000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function connect(more = {}, webSocket = {}) {
  let socket;
  const client = new Client({
    webSocketFactory: () => (socket = new WebSocket(url, ["v12.stomp", "v11.stomp", "v10.stomp"], webSocket)),
    connectHeaders: { login: "guest", passcode: "guest", host },
    reconnectDelay: 0,
    heartbeatIncoming: 1000,
    heartbeatOutgoing: 1000,
    ...more,
  });
  const connected = new Promise((resolve, reject) => {
    client.onConnect = (frame) => resolve({ client, frame, socket });
    client.onStompError = (frame) => reject(new Error(`ERROR ${frame.headers.message}`));
    client.onWebSocketError = (event) => reject(new Error(event.message));
    client.onWebSocketClose = (event) => reject(new Error(`closed ${event.code}`));
  });
  client.activate();
  return within(connected, "CONNECTED");
}

let receipts = 0;
function receipt(client, act) {
  const id = `r${++receipts}`;
  return within(
    new Promise((resolve) => {
      client.watchForReceipt(id, resolve);
      act(id);
    }),
    id,
  );
}

function inbox(client, destination, headers = {}) {
  const messages = [];
  const waiting = [];
  const ready = receipt(client, (id) =>
    client.subscribe(destination, (message) => (waiting.length ? waiting.shift()(message) : messages.push(message)), { receipt: id, ...headers }),
  );
  const next = () => within(messages.length ? Promise.resolve(messages.shift()) : new Promise((resolve) => waiting.push(resolve)), "a message");
  return ready.then(() => next);
}

async function main() {
  const { client, frame, socket } = await connect();
  seen.subprotocol = socket.protocol;
  seen.extensions = socket.extensions;
  seen.version = frame.headers.version;

  const next = await inbox(client, queue, { ack: "client-individual" });
  await receipt(client, (id) => client.publish({ destination: queue, body: "h\u00e9llo \u{1F600}", headers: { receipt: id, colour: "green" } }));
  const first = await next();
  seen.first = [first.body, first.headers.colour];
  first.nack();
  const again = await next();
  seen.again = [again.body, again.headers.redelivered];
  again.ack();

  for (let number = 0; number < 500; number++) client.publish({ destination: queue, body: String(number) });
  const numbers = [];
  for (let number = 0; number < 500; number++) {
    const message = await next();
    numbers.push(message.body);
    message.ack();
  }
  seen.inOrder = numbers.every((body, number) => body === String(number));

  const binary = Uint8Array.from({ length: 100000 }, (_, at) => (at * 7) % 256);
  client.publish({ destination: queue, binaryBody: binary, headers: { "content-type": "application/octet-stream" } });
  const large = await next();
  seen.binary = Buffer.from(large.binaryBody).equals(Buffer.from(binary));
  large.ack();
  client.publish({ destination: queue, body: "\u4e2d".repeat(50000) });
  const text = await next();
  seen.text = text.body === "\u4e2d".repeat(50000);
  text.ack();

  const transaction = client.begin();
  client.publish({ destination: queue, body: "in", headers: { transaction: transaction.id } });
  transaction.commit();
  const committed = await next();
  seen.committed = committed.body;
  committed.ack();

  const topic = await inbox(client, `/topic/${process.env.QUEUE}.*`);
  const other = await connect({ forceBinaryWSFrames: true, splitLargeFrames: true });
  await receipt(other.client, (id) => other.client.publish({ destination: `/topic/${process.env.QUEUE}.a`, body: "x".repeat(30000), headers: { receipt: id } }));
  seen.topic = (await topic()).body.length;
  await within(new Promise((resolve) => setTimeout(resolve, 2500)), "some heart-beats");
  seen.alive = client.connected && other.client.connected;
  await other.client.deactivate();

  const refused = async (...how) => connect(...how).then(() => "connected", (error) => error.message);
  seen.password = await refused({ connectHeaders: { login: "guest", passcode: "wrong", host } });
  seen.page = await refused({}, { origin: "https://evil.example.com" });
  const ended = within(new Promise((resolve) => (client.onWebSocketClose = (event) => resolve(event.code))), "the end");
  await client.deactivate();
  seen.ended = await ended;
}

main().then(
  () => {
    console.log(JSON.stringify(seen));
    process.exit(0);
  },
  (error) => {
    console.error(error);
    console.log(JSON.stringify(seen));
    process.exit(1);
  },
);
