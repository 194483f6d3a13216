// A conversation with the broker at KAFKA_BOOTSTRAP, through kafkajs; prints what it saw as JSON, for test_kafkajs.py to check.
'use strict'

const crypto = require('crypto')
const { Kafka, CompressionTypes, logLevel } = require('kafkajs')

const unique = () => `interop.${crypto.randomBytes(6).toString('hex')}`
const kafka = new Kafka({ clientId: 'interop', brokers: [process.env.KAFKA_BOOTSTRAP], logLevel: logLevel.NOTHING, retry: { retries: 4, initialRetryTime: 100 } })
const seen = {}
const topics = []
const admin = kafka.admin()
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

async function until(condition, what) {
  for (const end = Date.now() + 30000; !condition(); await sleep(20)) if (Date.now() > end) throw new Error(`not within 30 s: ${what}`)
}

async function topic(numPartitions = 1, configEntries = []) {
  topics.push(unique())
  await admin.createTopics({ topics: [{ topic: topics.at(-1), numPartitions, configEntries }], waitForLeaders: true })
  return topics.at(-1)
}

async function read(name, count, groupId = unique(), options = {}) {
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100, heartbeatInterval: 300, ...options })
  const got = []
  await consumer.connect()
  await consumer.subscribe({ topics: [name], fromBeginning: true })
  await consumer.run({ eachMessage: async ({ partition, message }) => { got.push({ partition, ...message }) } })
  try {
    await until(() => got.length >= count, `${count} messages`)
  } finally {
    await consumer.disconnect()
  }
  return got
}

const steps = {
  async fields() {
    seen.fields = []
    for (const compression of [CompressionTypes.None, CompressionTypes.GZIP]) {
      const name = await topic()
      const producer = kafka.producer()
      await producer.connect()
      const sent = [
        { key: 'k', value: 'v', headers: { a: 'one', b: ['two', 'three'] }, timestamp: '1700000000000' },
        { key: null, value: Buffer.from([0, 255]), timestamp: '1700000000001' },
        { key: '', value: null, timestamp: '1700000000002' },
      ]
      const [{ baseOffset }] = await producer.send({ topic: name, compression, messages: sent })
      await producer.disconnect()
      const got = await read(name, 3)
      seen.fields.push([
        baseOffset,
        ...got.map(m => [m.offset, m.key && m.key.toString(), m.value && m.value.toString('hex'), m.timestamp, Object.entries(m.headers).map(([k, v]) => [k, String(v)])]),
      ])
    }
  },

  async idempotent() {
    const name = await topic(3)
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    for (let round = 0; round < 10; round++) {
      await producer.send({ topic: name, acks: -1, messages: Array.from({ length: 60 }, (_, n) => ({ value: `${round * 60 + n}`, partition: n % 3 })) })
    }
    await producer.disconnect()
    const got = await read(name, 600)
    seen.idempotent = [0, 1, 2].every(p => {
      const mine = got.filter(m => m.partition === p).map(m => Number(m.value))
      return mine.length === 200 && mine.every((v, i) => i === 0 || mine[i - 1] < v)
    })
  },

  async acks() {
    const name = await topic()
    const producer = kafka.producer()
    await producer.connect()
    for (const acks of [0, 1, -1]) await producer.send({ topic: name, acks, messages: [{ value: `${acks}` }] })
    await producer.disconnect()
    seen.acks = (await read(name, 3)).map(m => m.value.toString())
  },

  async group() {
    const name = await topic(4)
    const groupId = unique()
    const producer = kafka.producer()
    await producer.connect()
    const members = {}
    const got = []
    const consumers = []
    for (const who of ['one', 'two']) {
      const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100, heartbeatInterval: 300 })
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { members[who] = payload.memberAssignment[name] || [] })
      await consumer.connect()
      await consumer.subscribe({ topics: [name], fromBeginning: true })
      await consumer.run({ eachMessage: async ({ partition, message }) => { got.push([who, partition, message.value.toString()]) } })
      consumers.push(consumer)
    }
    await until(() => Object.values(members).length === 2 && Object.values(members).every(m => m.length === 2), 'two partitions each')
    seen.shares = [...members.one, ...members.two].sort()
    await producer.send({ topic: name, messages: [0, 1, 2, 3].map(partition => ({ value: `${partition}`, partition })) })
    await until(() => got.length >= 4, 'a message each')
    seen.owners = got.every(([who, partition]) => members[who].includes(partition))
    seen.described = await admin.describeGroups([groupId]).then(({ groups: [g] }) => [g.state, g.protocol, g.members.length])
    await consumers[1].disconnect()
    await until(() => members.one.length === 4, 'all partitions for the one that stays')
    await consumers[0].disconnect()
    seen.committed = (await admin.fetchOffsets({ groupId, topics: [name] }))[0].partitions.map(p => [p.partition, p.offset]).sort()
    await producer.disconnect()
    await admin.resetOffsets({ groupId, topic: name, earliest: true })
    seen.again = (await read(name, 4, groupId)).length
    seen.listed = (await admin.listGroups()).groups.some(g => g.groupId === groupId)
    seen.deleted = (await admin.deleteGroups([groupId])).map(g => g.errorCode)
  },

  async positions() {
    const name = await topic()
    const producer = kafka.producer()
    await producer.connect()
    await producer.send({ topic: name, messages: Array.from({ length: 50 }, (_, n) => ({ value: `${n}`, timestamp: `${1700000000000 + n * 1000}` })) })
    await producer.disconnect()
    seen.offsets = (await admin.fetchTopicOffsets(name)).map(p => [p.low, p.high])
    seen.byTime = (await admin.fetchTopicOffsetsByTimestamp(name, 1700000020500)).map(p => p.offset)
    const consumer = kafka.consumer({ groupId: unique(), maxWaitTimeInMs: 100 })
    const got = []
    await consumer.connect()
    await consumer.subscribe({ topics: [name], fromBeginning: true })
    await consumer.run({ autoCommit: false, eachMessage: async ({ message }) => { got.push(message.value.toString()) } })
    consumer.seek({ topic: name, partition: 0, offset: '45' })
    await until(() => got.length >= 5 && got.slice(-5).join() === '45,46,47,48,49', 'the last five')
    await consumer.disconnect()
    await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: '30' }] })
    seen.trimmed = (await admin.fetchTopicOffsets(name)).map(p => [p.low, p.high])
  },

  async administration() {
    const name = await topic(2, [{ name: 'retention.ms', value: '60000' }])
    seen.listedTopic = (await admin.listTopics()).includes(name)
    await admin.createPartitions({ topicPartitions: [{ topic: name, count: 3 }] })
    seen.partitions = (await admin.fetchTopicMetadata({ topics: [name] })).topics[0].partitions.length
    const { resources } = await admin.describeConfigs({ resources: [{ type: 2, name, configNames: ['retention.ms'] }] })
    seen.configuration = resources[0].configEntries.map(e => [e.configName, e.configValue])
    seen.cluster = await admin.describeCluster().then(c => c.brokers.map(b => `${b.host}:${b.port}`))
    seen.again_refused = await admin.createTopics({ topics: [{ topic: name }] })
  },

  async large() {
    const name = await topic(1, [{ name: 'max.message.bytes', value: '4000000' }])
    const producer = kafka.producer({ retry: { retries: 0 } })
    await producer.connect()
    const body = crypto.randomBytes(3000000)
    await producer.send({ topic: name, messages: [{ value: body }] })
    seen.tooLarge = await producer.send({ topic: name, messages: [{ value: Buffer.concat([body, body]) }] }).then(() => null, error => error.type)
    await producer.disconnect()
    seen.large = (await read(name, 1, unique(), { maxBytesPerPartition: 1000 }))[0].value.equals(body)
  },
}

async function main() {
  await admin.connect()
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step()
    } catch (error) {
      console.error(name, error)
    }
  }
  await admin.deleteTopics({ topics }).catch(error => console.error(error))
  await admin.disconnect()
  console.log(JSON.stringify(seen))
  process.exit(0)
}

main()
