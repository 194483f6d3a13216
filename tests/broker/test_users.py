import pytest
from memory_state import MemoryState

from entrepot.broker.catalogue.kept_definitions import decode_value, encode_value
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.state import set_value
from entrepot.broker.users.authorization import Action, Authorizer, ResourceKind
from entrepot.broker.users.credentials import SCRAM_SHA_256, SCRAM_SHA_512
from entrepot.broker.users.name_pattern import NamePattern
from entrepot.broker.users.permission_pattern import is_half_anchored
from entrepot.broker.users.secret_box import SecretBox
from entrepot.broker.users.users import PLAIN_CACHE_S, USER_KEY, Permission, PlainCheck, Users, check_listen, is_loopback
from entrepot.entropy import SystemEntropy
from entrepot.model.errors import CorruptData, Reason, Refused
from entrepot.model.principal import BROKER, Principal
from stopped_clock import StoppedClock

NS = "public/default"


@pytest.fixture
def state():
    return MemoryState()


@pytest.fixture
def clock():
    return StoppedClock()


def make(state, clock, key=b"k" * 32):
    users = Users(CatalogueStream(state), clock, SystemEntropy(), lambda: SecretBox(key, SystemEntropy()), iterations=4096)
    users.load()
    return users


@pytest.fixture
def users(state, clock):
    return make(state, clock)


def log_in(users, name, password, from_loopback=True):
    found = users.begin_plain(name, password, from_loopback)
    return users.finish_plain(found, found.run()) if isinstance(found, PlainCheck) else found


def assert_not_let_in(users, name, password, from_loopback=True):
    with pytest.raises(Refused) as caught:
        log_in(users, name, password, from_loopback)
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert str(caught.value) == "name and password do not match a user who may come from this address"


def test_a_user_logs_in_and_only_with_the_password(users):
    users.add_user("ann", "secret", administrator=True)
    assert log_in(users, "ann", "secret") == Principal("ann", frozenset({"administrator"}), "PLAIN")
    assert log_in(users, "ann", "secret", from_loopback=False).name == "ann"
    for name, password in (("ann", "Secret"), ("ann", ""), ("bob", "secret"), ("ann\x00s", "ecret"), ("\udcff", "\udcff"), ("", "")):
        assert_not_let_in(users, name, password)


def test_only_verifiers_are_kept(users, state):
    user = users.add_user("ann", "secret-word")
    assert not any(b"secret-word" in value for value in state.values.values())
    assert [verifier.mechanism for verifier in user.verifiers] == [SCRAM_SHA_256, SCRAM_SHA_512]
    assert all(verifier.is_password("secret-word") for verifier in user.verifiers)


def test_a_checked_password_is_remembered_for_a_while(users, clock):
    users.add_user("ann", "secret")
    log_in(users, "ann", "secret")
    assert isinstance(users.begin_plain("ann", "secret", True), Principal)
    assert isinstance(users.begin_plain("ann", "other", True), PlainCheck)
    clock.now_s += PLAIN_CACHE_S
    assert isinstance(users.begin_plain("ann", "secret", True), PlainCheck)


def test_a_change_counts_at_once_also_for_a_check_under_way(users):
    users.add_user("ann", "secret")
    log_in(users, "ann", "secret")
    check = users.begin_plain("ann", "wrong", True)
    users.set_password("ann", "new")
    assert_not_let_in(users, "ann", "secret")
    assert log_in(users, "ann", "new").name == "ann"
    under_way = users.begin_plain("ann", "new2", True)
    assert not check.run()
    users.set_password("ann", "new2")
    with pytest.raises(Refused):
        users.finish_plain(under_way, True)


def test_users_survive_a_restart(users, state, clock):
    users.add_user("ann", "secret", ("public/default", "acme/x"), administrator=True)
    users.set_permission("ann", "acme/x", Permission("", "^out", "in$"))
    users.add_user("bob", "word")
    users.delete_user("bob")
    again = make(state, clock)
    assert again.user("ann") == users.user("ann")
    assert [user.name for user in again.users()] == ["ann", "guest"]
    assert again.user("ann").namespaces == ("acme/x", "public/default")
    assert again.user("ann").permissions["acme/x"] == Permission("", "^out", "in$")
    assert log_in(again, "ann", "secret").tags == {"administrator"}


def test_who_was_let_in_goes_on_at_another_process_as_long_as_the_password_is_that(users, state, clock):
    for _ in range(3):
        users.add_user("bob", "word")
        users.delete_user("bob")
    users.add_user("ann", "secret", administrator=True)
    here = {name: log_in(users, name, password) for name, password in (("ann", "secret"), ("guest", "guest"))}
    other = make(state, clock)
    assert other.user("ann").standing != users.user("ann").standing
    for name, principal in here.items():
        found = other.who_has(name, principal.mechanism, users.credential_of(principal))
        assert found == principal
        assert other.is_current(found)
        assert other.who_has(name, "SCRAM-SHA-256", users.credential_of(principal)) is None
    credential = users.credential_of(here["ann"])
    assert other.who_has("guest", "PLAIN", credential) is None
    assert other.who_has("bob", "PLAIN", credential) is None
    assert other.who_has("guest", "none", b"") is None  # nobody comes without credentials where there are users
    other.set_password("ann", "secret")  # the same, and yet another
    assert other.who_has("ann", "PLAIN", credential) is None
    other.delete_user("guest")
    assert other.who_has("guest", "PLAIN", users.credential_of(here["guest"])) is None
    users.set_password("ann", "new")
    assert users.credential_of(here["ann"]) is None


def test_guest_comes_from_loopback_only_until_deleted(users, state, clock):
    assert log_in(users, "guest", "guest").name == "guest"
    assert_not_let_in(users, "guest", "guest", from_loopback=False)
    assert set(state.values) == {(0, b"c:d")}  # nothing of guest
    users.delete_user("guest")
    assert_not_let_in(users, "guest", "guest")
    again = make(state, clock)
    assert_not_let_in(again, "guest", "guest")
    assert list(again.users()) == []
    again.add_user("guest", "better")
    assert log_in(again, "guest", "better").name == "guest"
    assert_not_let_in(again, "guest", "better", from_loopback=False)
    assert not again.has_own()


def test_guest_may_have_another_password(users):
    users.set_password("guest", "better")
    assert_not_let_in(users, "guest", "guest")
    assert log_in(users, "guest", "better").tags == {"administrator"}


def test_users_that_cannot_be(users):
    users.add_user("ann", "secret")
    with pytest.raises(Refused, match="already"):
        users.add_user("ann", "secret")
    with pytest.raises(Refused, match="name is empty"):
        users.add_user("", "secret")
    with pytest.raises(Refused, match="password is empty"):
        users.add_user("bob", "")
    with pytest.raises(Refused, match="is not 'tenant/name'"):
        users.add_user("bob", "secret", ("nowhere",))
    with pytest.raises(Refused, match="is not a regular expression"):
        users.set_permission("ann", NS, Permission("(", "", ""))
    for attempt in (lambda: users.user("bob"), lambda: users.set_password("bob", "x"), lambda: users.delete_user("bob")):
        with pytest.raises(Refused, match="there is no user 'bob'"):
            attempt()
    assert [user.name for user in users.users()] == ["ann", "guest"]


def test_seeds_change_what_differs_and_nothing_else(users, state):
    users.seed_user("ann", "secret", (NS,))
    users.set_permission("ann", NS, Permission("", ".*", ".*"))
    folds = state.fold_count
    users.seed_user("ann", "secret", (NS,))
    assert state.fold_count == folds
    assert users.user("ann").permissions[NS].configure == ""
    users.seed_user("ann", "other", (), administrator=True)
    assert log_in(users, "ann", "other").tags == {"administrator"}
    assert users.user("ann").namespaces == ()


@pytest.mark.parametrize("pattern", ["(", "(?!amq).*", "(a)\\1", "(?<=a)b", "[", "a" * 1025, "(a{200}){200}", "\\p{L}"])
def test_patterns_that_are_not_taken(users, pattern):
    users.add_user("ann", "secret")
    with pytest.raises(Refused) as caught:
        users.set_permission("ann", NS, Permission(read=pattern))
    assert caught.value.reason is Reason.INVALID


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(.*.*.*.*.*)*b", "a*" * 100 + "b", "(a|ab|aba)*c"])
def test_no_pattern_takes_more_steps_than_the_name_has_letters(users, pattern):
    users.add_user("ann", "secret")
    users.set_permission("ann", NS, Permission(read=pattern))
    assert not Authorizer(users).may(log_in(users, "ann", "secret"), Action.READ, NS, "a" * 255)
    assert len(list(NamePattern(pattern).matching("a" * 255))) <= 255


@pytest.mark.parametrize(
    ("pattern", "is_half"),
    [("^orders-", True), ("orders$", True), ("^orders$", False), ("^orders-.*", False), (".*-dlq$", False), ("orders", False), ("", False)],
)
def test_patterns_of_which_one_end_is_anchored(pattern, is_half):
    assert is_half_anchored(pattern) is is_half


def test_what_is_said_of_patterns_at_a_start(users, state, clock):
    users.add_user("ann", "secret")
    users.set_permission("ann", NS, Permission("orders", "^orders$", "^orders-.*"))
    assert list(users.pattern_notes()) == []
    users.set_permission("ann", NS, Permission("^mine-", "^mine-", "in$"))
    assert [note.partition(",")[0] for note in make(state, clock).pattern_notes()] == [
        f"user 'ann' in public/default: the regular expression {pattern!r} is matched with whole names" for pattern in ("^mine-", "in$")
    ]


def test_a_kept_pattern_that_is_not_understood_permits_nothing(users, state, clock):
    users.add_user("ann", "secret")
    users.set_permission("ann", NS, Permission("", "", "there"))
    key = USER_KEY + b"ann"
    state.values[0, key] = state.values[0, key].replace(b"there", b"(?!x)")
    again = make(state, clock)
    assert not Authorizer(again).may(log_in(again, "ann", "secret"), Action.READ, NS, "there")
    (note,) = again.pattern_notes()
    assert note.startswith("user 'ann' in public/default: '(?!x)' permits nothing: ")


class TestAccessKeys:
    def test_a_secret_can_be_had_again(self, users, state, clock):
        users.add_user("ann", "secret")
        key, secret = users.add_access_key("ann")
        assert len(key.id) == 20
        assert len(secret) == 40
        assert not any(secret.encode() in value for value in state.values.values())
        again = make(state, clock)
        assert again.secret_of(key.id) == secret
        assert again.access_key(key.id).user == "ann"
        assert [found.id for found in again.access_keys("ann")] == [key.id]
        with pytest.raises(CorruptData, match="does not open"):
            make(state, clock, b"j" * 32).secret_of(key.id)

    def test_keys_go_with_their_user(self, users, state):
        users.add_user("ann", "secret")
        key, _ = users.add_access_key("ann")
        users.delete_user("ann")
        assert set(state.values) == {(0, b"c:d")}
        with pytest.raises(Refused, match="there is no access key"):
            users.secret_of(key.id)
        with pytest.raises(Refused, match="there is no user"):
            users.add_access_key("ann")

    def test_without_a_key_file_there_are_none(self, state, clock):
        users = Users(CatalogueStream(state), clock, SystemEntropy(), iterations=4096)
        with pytest.raises(Refused, match="need the key file"):
            users.add_access_key("guest")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("example.com", False),
        ("", False),
    ],
)
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback


def test_listening_to_others_needs_users(users):
    check_listen("amqp", "127.0.0.1", users)
    with pytest.raises(Refused, match=r"listen\.amqp = '0\.0\.0\.0': .*there are no users"):
        check_listen("amqp", "0.0.0.0", users)
    users.add_user("ann", "secret")
    check_listen("amqp", "0.0.0.0", users)


class TestForbidden:
    """A namespace that a user is forbidden cannot be opened, whatever else it may."""

    def test_it_wins_over_all_namespaces_and_is_kept(self, users, state, clock):
        users.add_user("ann", "secret")
        users.clear_permission("ann", "acme/x")
        for found in (users, make(state, clock)):
            ann = found.user("ann")
            assert ann.permission("acme/x") is None
            assert ann.permission("acme/y") == Permission()
            assert (ann.namespaces, ann.forbidden) == ((), ("acme/x",))
            with pytest.raises(Refused, match="access to vhost 'acme/x' refused for user 'ann'"):
                Authorizer(found).authorize_namespace(Principal("ann"), "acme/x")
        users.set_permission("ann", "*", Permission())
        assert users.user("ann").permission("acme/x") is None
        users.set_permission("ann", "acme/x", Permission(read="x"))
        assert make(state, clock).user("ann").permission("acme/x") == Permission(read="x")

    def test_all_that_are_not_listed(self, users):
        users.add_user("ann", "secret")
        users.set_permission("ann", NS, Permission())
        users.clear_permission("ann", "*")
        assert users.user("ann").namespaces == (NS,)
        assert users.user("ann").permission("acme/x") is None

    @pytest.mark.parametrize("namespaces", [(), ("acme/x", NS)])
    def test_a_seed_does_not_open_it_again(self, users, namespaces):
        users.seed_user("ann", "secret", namespaces)
        users.clear_permission("ann", "acme/x")
        users.seed_user("ann", "secret", namespaces)
        assert users.user("ann").permission("acme/x") is None
        assert users.user("ann").permission(NS) == Permission()

    def test_a_version_that_does_not_know_of_it_permits_nothing_there(self, users, state):
        users.add_user("ann", "secret")
        users.clear_permission("ann", "acme/x")
        (value,) = (value for (_, key), value in state.values.items() if key.endswith(b"uann"))
        fields = decode_value(b"", value)
        assert (fields["permissions"]["acme/x"], fields["forbidden"]) == (["", "", ""], ["acme/x"])


class TestConfigured:
    def test_who_is_in_the_configuration_no_more_is_deleted_and_nobody_else(self, users, state, clock):
        users.seed_user("ann", "secret")
        users.seed_user("eve", "secret")
        users.add_user("bob", "secret")
        key, _ = users.add_access_key("ann")
        users.seed_user("bob", "secret")  # made otherwise: stays whatever the configuration says later
        again = make(state, clock)
        assert again.forget_seeded({"eve"}) == ["ann"]
        assert again.forget_seeded({"eve"}) == []
        assert [user.name for user in make(state, clock).users()] == ["bob", "eve", "guest"]
        with pytest.raises(Refused):
            again.access_key(key.id)

    def test_guest_of_the_configuration_goes_for_good(self, users, state, clock):
        users.seed_user("guest", "secret")
        assert users.forget_seeded({}) == ["guest"]
        assert make(state, clock).maybe_user("guest") is None

    def test_who_was_kept_before_that_was_kept_is_the_configurations_once_it_says_so(self, users, state, clock):
        for name in ("ann", "bob"):
            users.add_user(name, "secret")
        for (_, key), value in list(state.values.items()):
            if key.endswith((b"uann", b"ubob")):
                fields = decode_value(key, value)
                del fields["configured"], fields["forbidden"]
                state.fold(0, key, set_value(encode_value(fields)))
        again = make(state, clock)
        again.seed_user("ann", "secret")
        assert again.forget_seeded({}) == ["ann"]
        assert again.maybe_user("bob") is not None


def test_a_proof_of_an_old_password_lets_nobody_in(users):
    users.add_user("ann", "secret")
    verifier = users.scram_verifier("ann", SCRAM_SHA_256, True)
    users.set_tags("ann", frozenset())
    assert users.scram_principal("ann", SCRAM_SHA_256, verifier) is not None
    users.set_password("ann", "secret")
    assert users.scram_principal("ann", SCRAM_SHA_256, verifier) is None


class TestAuthorize:
    @pytest.fixture
    def authorizer(self, users):
        return Authorizer(users)

    def may(self, authorizer, user, action, name, namespace=NS):
        return authorizer.may(Principal(user), action, namespace, name)

    def test_patterns_are_of_whole_names(self, users, authorizer):
        users.add_user("ann", "secret", (NS,))
        users.set_permission("ann", NS, Permission("mine-.*", "", "amq\\.default|in"))
        assert self.may(authorizer, "ann", Action.CONFIGURE, "mine-1")
        assert not self.may(authorizer, "ann", Action.CONFIGURE, "not-mine-1")
        assert not self.may(authorizer, "ann", Action.WRITE, "mine-1")
        assert self.may(authorizer, "ann", Action.READ, "in")
        assert self.may(authorizer, "ann", Action.READ, "")
        assert not self.may(authorizer, "ann", Action.READ, "inn")
        assert not self.may(authorizer, "ann", Action.READ, "in\n")

    def test_texts(self, users, authorizer):
        users.add_user("ann", "secret", ("acme/x",))
        users.set_permission("ann", "acme/x", Permission("", "", ""))
        with pytest.raises(Refused, match=r"access to exchange 'amq\.default' in vhost 'acme/x' refused for user 'ann'"):
            authorizer.authorize(Principal("ann"), Action.WRITE, "acme/x", ResourceKind.EXCHANGE, "")
        with pytest.raises(Refused, match="access to vhost '/' refused for user 'ann'") as caught:
            authorizer.authorize_namespace(Principal("ann"), NS)
        assert caught.value.reason is Reason.NOT_PERMITTED
        authorizer.authorize_namespace(Principal("ann"), "acme/x")

    def test_a_change_counts_at_once(self, users, authorizer):
        users.add_user("ann", "secret")
        assert self.may(authorizer, "ann", Action.READ, "q")
        assert self.may(authorizer, "ann", Action.READ, "q", "any/where")
        users.set_permission("ann", NS, Permission(read="x"))
        assert not self.may(authorizer, "ann", Action.READ, "q")
        users.clear_permission("ann", NS)
        users.set_permission("ann", NS, Permission())
        assert self.may(authorizer, "ann", Action.READ, "q")
        users.delete_user("ann")
        assert not self.may(authorizer, "ann", Action.READ, "q")

    def test_the_broker_itself_may_do_anything(self, authorizer):
        authorizer.authorize(BROKER, Action.WRITE, "any/where", ResourceKind.EXCHANGE, "x")
        authorizer.authorize_namespace(BROKER, "any/where")

    def test_names_of_no_user_may_nothing(self, authorizer):
        assert not self.may(authorizer, "nobody", Action.READ, "q")
        assert self.may(authorizer, "guest", Action.READ, "q")


@pytest.mark.parametrize(
    ("name", "password"),
    [("ann", "\u0301\u0323" * 20_000), ("nobody", "\u0301\u0323" * 20_000), ("a" * 256, "secret")],
    ids=["password", "password of nobody", "name"],
)
def test_sizes_that_nobody_has_cost_what_any_wrong_login_costs(users, name, password):
    users.add_user("ann", "secret")
    check = users.begin_plain(name, password, True)
    assert isinstance(check, PlainCheck)
    assert (check.user, check.password) == (None, "")
    assert not check.run()
    with pytest.raises(Refused):
        users.finish_plain(check, False)


def test_salts_of_who_does_not_exist_are_the_same_after_a_restart(users, state, clock):
    before = users.scram_verifier("nobody", "SCRAM-SHA-256", True).salt
    assert make(state, clock).scram_verifier("nobody", "SCRAM-SHA-256", True).salt == before
    assert users.scram_verifier("somebody", "SCRAM-SHA-256", True).salt != before
