// A conversation with the broker at AMQP_URL through amqplib; prints one JSON object of what happened, for test_amqplib.py to check.
'use strict';
const amqp = require('amqplib');
const { once } = require('node:events');

const url = process.env.AMQP_URL;
const seen = {};

async function confirms(connection) {
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (let number = 0; number < 200; number++) channel.sendToQueue(queue, Buffer.from(String(number)), { persistent: true, headers: { number, nested: { list: [1, 'a', null, true, 1.5] } } });
  await channel.waitForConfirms();
  seen.counted = (await channel.checkQueue(queue)).messageCount;
  await channel.prefetch(7);
  const bodies = [];
  await new Promise((resolve) => {
    channel.consume(queue, (message) => {
      bodies.push(Number(message.content.toString()));
      if (bodies.length === 1) seen.headers = message.properties.headers;
      channel.ack(message);
      if (bodies.length === 200) resolve();
    });
  });
  seen.inOrder = bodies.every((number, index) => number === index);
  await channel.close();
}

async function returned(connection) {
  const channel = await connection.createConfirmChannel();
  const back = once(channel, 'return');
  channel.publish('amq.direct', 'interop.nowhere', Buffer.from('lost'), { mandatory: true, messageId: 'm' });
  const [message] = await back;
  await channel.waitForConfirms();
  seen.returned = [message.fields.replyCode, message.fields.replyText, message.content.toString(), message.properties.messageId];
  await channel.close();
}

async function topicAndExchanges(connection) {
  const channel = await connection.createChannel();
  const first = `interop.first.${process.pid}`;
  const second = `interop.second.${process.pid}`;
  await channel.assertExchange(first, 'topic', { autoDelete: true });
  await channel.assertExchange(second, 'fanout', { autoDelete: true, internal: true });
  const { queue } = await channel.assertQueue('', { exclusive: true, maxLength: 2, deadLetterExchange: 'amq.fanout', messageTtl: 60000, expires: 60000 });
  await channel.bindExchange(second, first, 'a.*');
  await channel.bindQueue(queue, second, '');
  for (const key of ['a.1', 'b.1', 'a.2', 'a.3']) channel.publish(first, key, Buffer.from(key));
  await channel.checkQueue(queue);
  seen.routed = [];
  for (let message; (message = await channel.get(queue, { noAck: true })); ) seen.routed.push(message.fields.routingKey);
  await channel.deleteQueue(queue);
  await channel.deleteExchange(first);
  await channel.close();
}

async function requeue(connection) {
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  channel.sendToQueue(queue, Buffer.from('x'));
  const redelivered = [];
  let message = await channel.get(queue);
  redelivered.push(message.fields.redelivered);
  channel.nack(message);
  message = await channel.get(queue);
  redelivered.push(message.fields.redelivered);
  await channel.recover();
  message = await channel.get(queue);
  redelivered.push(message.fields.redelivered);
  channel.reject(message, false);
  redelivered.push(await channel.get(queue));
  seen.redelivered = redelivered;
  seen.purged = (await channel.purgeQueue(queue)).messageCount;
  await channel.close();
}

async function refused(connection) {
  seen.refused = [];
  for (const act of [(c) => c.checkQueue('interop.nowhere'), (c) => c.assertExchange('amq.direct', 'fanout'), (c) => c.bindQueue('interop.nowhere', 'amq.direct', ''), (c) => c.assertQueue('amq.mine')]) {
    const channel = await connection.createChannel();
    channel.on('error', () => {});
    await act(channel).then(() => seen.refused.push('accepted'), (error) => seen.refused.push(error.code ?? Number(/40\d/.exec(error.message))));
  }
}

async function cancelled(connection) {
  const [one, other] = [await connection.createChannel(), await connection.createChannel()];
  const { queue } = await one.assertQueue(`interop.cancelled.${process.pid}`);
  const cancel = new Promise((resolve) => one.consume(queue, resolve).then(() => other.deleteQueue(queue)));
  seen.cancelled = await cancel;
}

async function large(connection) {
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const body = Buffer.alloc(5 << 20, 'entrepot');
  channel.sendToQueue(queue, body);
  await channel.waitForConfirms();
  seen.large = (await channel.get(queue, { noAck: true })).content.equals(body);
}

async function rpc(connection) {
  const [client, server] = [await connection.createChannel(), await connection.createChannel()];
  const { queue } = await server.assertQueue('', { exclusive: true });
  await server.consume(queue, (message) => server.sendToQueue(message.properties.replyTo, Buffer.from(`${message.content} world`), { correlationId: message.properties.correlationId }), { noAck: true });
  seen.rpc = await new Promise((resolve) => {
    client.consume('amq.rabbitmq.reply-to', (message) => resolve([message.content.toString(), message.properties.correlationId]), { noAck: true })
      .then(() => client.sendToQueue(queue, Buffer.from('hello'), { replyTo: 'amq.rabbitmq.reply-to', correlationId: '7' }));
  });
}

async function main() {
  for (const step of [confirms, returned, topicAndExchanges, requeue, refused, cancelled, large, rpc]) {
    const connection = await amqp.connect(url, { clientProperties: { connection_name: 'interop' } });
    seen.product = typeof connection.connection.serverProperties.product;
    connection.on('error', () => {});
    const lost = new Promise((_, reject) => setTimeout(reject, 15000, new Error(`${step.name} took too long`)));
    await Promise.race([step(connection), lost]).catch((error) => console.error(step.name, error));
    await connection.close().catch(() => {});
  }
  seen.wrongPassword = await amqp.connect(url.replace('guest:guest', 'guest:wrong')).then(() => 'accepted', (error) => /403/.test(error.message));
  console.log(JSON.stringify(seen));
  process.exit(0);
}

process.on('uncaughtException', (error) => console.error('uncaught', error));
main().catch((error) => { console.error(error); process.exit(1); });
