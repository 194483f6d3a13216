"""Three whole brokers that are one to Kafka's clients, and such a client of each."""

from __future__ import annotations

from brokers import NS, Cluster
from kafka_bench import Authenticator, Chance, Client, batch, fetch, produce
from test_handlers import BY_NAME, metadata

from entrepot.model.nodes import Nodes
from entrepot.net.session import Peer
from entrepot.protocols.kafka.compression import UNPACKED_MAX_BYTES
from entrepot.protocols.kafka.record_batch import BatchValidator
from entrepot.protocols.kafka.records import KafkaEntryCodec
from entrepot.protocols.kafka.session import Session, Settings, Shared

NODE_ID = 1  # of the first
ADDRESSES = [("", 9101), ("far.example", 9102), ("", 9103)]
REACHED = "10.0.0.1"
NO_ID = bytes(16)


class KafkaCluster(Cluster):
    codecs = (KafkaEntryCodec,)

    def __init__(self, count=3, seed=1):
        super().__init__(count, seed)
        self.settle()

    def client(self, number):
        """One that has reached that node."""
        return NodeClient(self, self.processes[number])

    def clients(self):
        return [self.client(number) for number in range(self.count)]

    def leader(self, topic, partition):
        """The number of the process that has it, by its store."""
        definition = self.processes[0].space.topics[topic]
        (found,) = [process.number for process in self.processes if definition.partitions[partition] in {log.id for log in process.store.logs()}]
        return found

    def coordinator(self, group):
        return self.processes[0].broker.desk.shard(NS, group) % self.count

    def group_of(self, number):
        """The name of a group that this node coordinates."""
        return next(name for name in map("g{}".format, range(1000)) if self.coordinator(name) == number)


class NodeClient(Client):
    """Of one start of one process."""

    def __init__(self, cluster, process):
        super().__init__()
        self.cluster = cluster
        self.process = process
        nodes = Nodes(process.number, cluster.count)
        settings = Settings(node_id=NODE_ID, nodes=nodes, addresses=ADDRESSES[: cluster.count], cluster_id="c")
        self.shared = Shared(Chance(), BatchValidator(UNPACKED_MAX_BYTES), process.scheduler.call_soon)
        peer = Peer("10.0.0.9", 40_000, False, "kafka", True, REACHED, 9092)
        self.session = Session(process.broker, Authenticator(), settings, self.shared, peer, self._wake, self._note)

    def call(self, api, version, values, limit_s=30):
        """The answer, however long it takes."""
        self.send(BY_NAME[api], version, values)
        self.cluster.loop.run_until(lambda: self.session.closing or not self.session.pending, limit_s)
        return self.answer()

    # ---- what clients ask, in the newest versions

    def create(self, name, partitions, assignments=()):
        rows = [{"partition_index": index, "broker_ids": brokers} for index, brokers in enumerate(assignments)]
        count, factor = (-1, -1) if rows else (partitions, 1)
        topic = {"name": name, "num_partitions": count, "replication_factor": factor, "assignments": rows, "configs": []}
        (row,) = self.call("CreateTopics", 7, {"topics": [topic], "timeout_ms": 1000, "validate_only": False})["topics"]
        return row["error_code"]

    def metadata(self, *names, version=12):
        return self.call("Metadata", version, metadata(list(names)))

    def leaders(self, name):
        (topic,) = self.metadata(name)["topics"]
        assert topic["error_code"] == 0
        return [part["leader_id"] for part in topic["partitions"]]

    def produce(self, topic, partition, value=b"v", count=1, producer=(-1, -1, -1)):
        answer = self.call("Produce", 12, produce({topic: {partition: batch(count, value=value, producer=producer)}}))
        (row,) = answer["responses"][0]["partition_responses"]
        return row["error_code"], row["base_offset"]

    def fetch(self, topic, partition, offset=0):
        (row,) = self.call("Fetch", 12, fetch({topic: {partition: offset}}))["responses"][0]["partitions"]
        return row["error_code"], row["records"]

    def list_offset(self, topic, partition, timestamp=-1):
        part = {"partition_index": partition, "current_leader_epoch": -1, "timestamp": timestamp}
        values = {"replica_id": -1, "isolation_level": 0, "topics": [{"name": topic, "partitions": [part]}], "timeout_ms": 1000}
        (row,) = self.call("ListOffsets", 10, values)["topics"][0]["partitions"]
        return row["error_code"], row["offset"]

    def find_coordinators(self, *groups):
        rows = self.call("FindCoordinator", 6, {"key_type": 0, "coordinator_keys": list(groups)})["coordinators"]
        return {row["key"]: (row["error_code"], row["node_id"], row["host"], row["port"]) for row in rows}

    def join(self, group, member=""):
        values = {
            "group_id": group,
            "session_timeout_ms": 9000,
            "rebalance_timeout_ms": 9000,
            "member_id": member,
            "group_instance_id": None,
            "protocol_type": "consumer",
            "protocols": [{"name": "range", "metadata": b"x"}],
            "reason": None,
        }
        return self.call("JoinGroup", 9, values)

    def commit(self, group, topic, partition, offset, member="", generation=-1):
        part = {"partition_index": partition, "committed_offset": offset, "committed_leader_epoch": -1, "committed_metadata": None}
        values = {
            "group_id": group,
            "generation_id_or_member_epoch": generation,
            "member_id": member,
            "group_instance_id": None,
            "topics": [{"name": topic, "partitions": [part]}],
        }
        (row,) = self.call("OffsetCommit", 9, values)["topics"][0]["partitions"]
        return row["error_code"]

    def committed(self, topic, partition, *groups):
        topics = [{"name": topic, "partition_indexes": [partition]}]
        rows = [{"group_id": group, "member_id": None, "member_epoch": -1, "topics": topics} for group in groups]
        found = self.call("OffsetFetch", 9, {"groups": rows, "require_stable": True})["groups"]
        return [(row["error_code"], [part["committed_offset"] for topic in row["topics"] for part in topic["partitions"]]) for row in found]
