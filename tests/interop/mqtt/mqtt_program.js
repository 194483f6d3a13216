// Conversations with the broker at MQTT_URL through mqtt.js, in each version of the protocol; prints what it saw as JSON, for test_mqtt_js.py to check.
'use strict';
const mqtt = require('mqtt');
const { randomBytes } = require('node:crypto');

const url = process.env.MQTT_URL;

function taking(client) {
  const got = [];
  const waiting = [];
  client.on('message', (topic, payload, packet) => {
    got.push({ topic, text: payload.toString(), packet });
    while (waiting.length && got.length >= waiting[0].count) {
      const { count, resolve } = waiting.shift();
      resolve(got.splice(0, count));
    }
  });
  return (count) => new Promise((resolve) => {
    if (got.length >= count) resolve(got.splice(0, count));
    else waiting.push({ count, resolve });
  });
}

async function talk(protocolVersion) {
  const seen = {};
  const root = `js${randomBytes(6).toString('hex')}`;
  const is5 = protocolVersion === 5;
  const open = (more = {}) => mqtt.connectAsync(url, { protocolVersion, reconnectPeriod: 0, clientId: `${root}${Math.random().toString(36).slice(2, 6)}`.slice(0, 22),
    ...(protocolVersion === 3 ? { protocolId: 'MQIsdp' } : {}), ...more });

  const writer = await open();
  const reader = await open();
  const take = taking(reader);
  const granted = await reader.subscribeAsync({ [`${root}/a/#`]: { qos: 2 }, [`${root}/b/+`]: { qos: 1 } });
  seen.granted = granted.map((each) => each.qos);
  await Promise.all([...Array(90).keys()].map((n) => writer.publishAsync(`${root}/a/${n % 3}`, String(n), { qos: n % 3 })));
  const found = await take(90);
  seen.ordered = [0, 1, 2].every((qos) => {
    const mine = found.filter((each) => each.topic === `${root}/a/${qos}`).map((each) => Number(each.text));
    return mine.length === 30 && mine.every((n, index) => n === 3 * index + qos);
  });
  seen.large = await (async () => {
    const body = randomBytes(1_000_000);
    await writer.publishAsync(`${root}/b/x`, body, { qos: 1 });
    return (await take(1))[0].packet.payload.equals(body);
  })();

  await writer.publishAsync(`${root}/kept`, 'kept', { qos: 1, retain: true });
  await reader.subscribeAsync(`${root}/kept`, { qos: 1 });
  seen.retained = (await take(1)).map((each) => [each.text, each.packet.retain]);
  await writer.publishAsync(`${root}/kept`, '', { qos: 1, retain: true });
  seen.removed = (await take(1)).map((each) => [each.text, each.packet.retain]);
  await reader.unsubscribeAsync(`${root}/kept`);

  const lost = await open({ will: { topic: `${root}/b/will`, payload: Buffer.from('gone'), qos: 1 } });
  lost.stream.destroy();
  seen.will = (await take(1))[0].text;

  const clientId = `${root}k`.slice(0, 22);
  const session = { clientId, clean: false, ...(is5 ? { properties: { sessionExpiryInterval: 600 } } : {}) };
  const first = await open(session);
  await first.subscribeAsync(`${root}/c`, { qos: 1 });
  await first.endAsync();
  for (const text of ['1', '2']) await writer.publishAsync(`${root}/c`, text, { qos: 1 });
  const again = mqtt.connect(url, { protocolVersion, reconnectPeriod: 0, ...(protocolVersion === 3 ? { protocolId: 'MQIsdp' } : {}), ...session });
  const takeAgain = taking(again);
  seen.session = (await takeAgain(2)).map((each) => each.text);
  await again.endAsync();
  await (await open({ clientId, clean: true })).endAsync();

  if (is5) {
    const properties = { contentType: 'text/plain', correlationData: Buffer.from([7]), responseTopic: `${root}/back`, userProperties: { one: '1', two: ['2', '3'] } };
    await writer.publishAsync(`${root}/b/asked`, '?', { qos: 1, properties });
    const [{ packet }] = await take(1);
    seen.properties = [packet.properties.contentType, [...packet.properties.correlationData], packet.properties.responseTopic === `${root}/back`,
      JSON.parse(JSON.stringify(packet.properties.userProperties))];
    const members = await Promise.all([open(), open()]);
    const taken = members.map(() => 0);
    for (const [index, member] of members.entries()) {
      member.on('message', () => { taken[index]++; });
      await member.subscribeAsync(`$share/g/${root}/shared`, { qos: 1 });
    }
    const alone = await open();
    const takeAll = taking(alone);
    await alone.subscribeAsync(`${root}/shared`, { qos: 1, nl: true, rap: true });
    for (let n = 0; n < 20; n++) await writer.publishAsync(`${root}/shared`, String(n), { qos: 1 });
    await takeAll(20);
    while (taken[0] + taken[1] < 20) await new Promise((resolve) => { setTimeout(resolve, 5); });
    seen.shared = [taken[0] + taken[1], taken[0] > 0 && taken[1] > 0];
    const aliased = await open({ properties: { topicAliasMaximum: 10 }, autoUseTopicAlias: true, autoAssignTopicAlias: true });
    for (let n = 0; n < 5; n++) await aliased.publishAsync(`${root}/b/alias`, String(n), { qos: 1 });
    seen.aliased = (await take(5)).map((each) => [each.topic === `${root}/b/alias`, each.text]);
    await Promise.all([...members, alone, aliased].map((each) => each.endAsync()));
  }
  const ended = new Promise((resolve) => { reader.on('close', resolve); });
  const usurper = await open({ clientId: reader.options.clientId });
  await ended;
  seen.takenOver = true;
  await Promise.all([writer, usurper].map((each) => each.endAsync()));
  return seen;
}

(async () => {
  const said = {};
  for (const version of [3, 4, 5]) said[version] = await talk(version);
  console.log(JSON.stringify(said));
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
