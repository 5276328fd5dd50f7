"""The kits of firmware_config name only what is really published, and the broker's keeps its promises."""

import json
import re
import tomllib

import msgspec
import pytest

from headnod.factory.mqtt_factory import LARGEST_BUNDLE
from headnod.mqtt.commands import command_topics
from headnod.mqtt.homeassistant import discovery
from headnod.mqtt.topics import Topics
from headnod_train.simulator.simulation import LABELS
from support.firmware_kits import KITS, board, payload, points, queries
from support.mqtt_broker import Broker, Subscriber
from support.mqtt_payloads import KITCHEN, info
from support.mqtt_publisher import until

ENTITY = re.compile(r"\b(?:sensor|binary_sensor|number|switch|update|select|button|event)\.\w+")
ATTRIBUTE = re.compile(r"state_attr\('([\w.]+)', '(\w+)'\)")


def anybodys(*topics):
    """Filters for these topics of the kitchen, and for those of all other listeners."""
    return {topic.replace("/kitchen/", "/+/") for topic in topics}


def components():
    """Entities of Home Assistant, as the kitchen's listener announces them."""
    (told,) = discovery(info(labels=LABELS), KITCHEN).values()
    return {entity["default_entity_id"]: entity for entity in json.loads(told)["components"].values()}


def documents(name):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: scripts/setup test")
    return yaml.safe_load((KITS / "homeassistant" / name).read_text())


def everything(node):
    """Every mapping in a document, however deep."""
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from everything(inner)


class TestHomeAssistant:
    @pytest.mark.parametrize("name", ["dashboard.yaml", "automations.yaml"])
    def test_every_entity_is_one_that_is_announced(self, name):
        named = set(ENTITY.findall(json.dumps(documents(name))))
        assert named <= components().keys()
        assert "sensor.kitchen_genre" in named

    @pytest.mark.parametrize("name", ["dashboard.yaml", "automations.yaml"])
    def test_every_attribute_is_one_that_its_entity_has(self, name):
        used = ATTRIBUTE.findall(json.dumps(documents(name)))
        assert used
        for entity, attribute in used:
            assert f"'{attribute}'" in components()[entity]["json_attributes_template"]

    def test_the_light_follows_the_energy(self):
        jinja2 = pytest.importorskip("jinja2", reason="jinja2 is not installed: scripts/setup test")
        (found,) = (each for each in documents("automations.yaml") if each["id"] == "headnod_kitchen_energy")
        assert found["triggers"][0]["attribute"] == "energy"
        template = jinja2.Environment().from_string(found["actions"][0]["data"]["brightness_pct"])
        assert [template.render(state_attr=lambda *_, energy=energy: energy) for energy in (0.0, 0.3, 1.0)] == [
            "20.0", "44.0", "100.0",
        ]  # fmt: skip
        (allowed,) = (each["value_template"] for each in found["conditions"] if "value_template" in each)
        condition = jinja2.Environment().from_string(allowed)
        for genre, energy, follows in (("jazz", 0.3, "True"), ("jazz", None, "False"), ("unknown", 0.3, "False")):
            said = condition.render(states=lambda _, genre=genre: genre, state_attr=lambda *_, energy=energy: energy)
            assert said == follows

    def test_a_trigger_waits_only_for_states_that_there_are(self):
        waited = [
            (part["entity_id"], part["to"])
            for part in everything(documents("automations.yaml"))
            if part.get("trigger") == "state" and "attribute" not in part
        ]
        assert len(waited) == 3
        for entity, state in waited:
            assert state in components()[entity].get("options", ["on", "off"])


def blueprint(name):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: scripts/setup test")

    class Loader(yaml.SafeLoader):
        """YAML with the inputs of blueprints."""

    Loader.add_constructor("!input", lambda loader, node: f"input {loader.construct_scalar(node)}")
    return yaml.load((KITS / "homeassistant" / name).read_text(), Loader)


class TestMediaPlayerBlueprint:
    NAME = "media_player_labels.yaml"
    GENRES = {"Sunday records": "jazz", "studio one": "Reggae"}  # noqa: RUF012 - never changed

    def label(self, state="playing", **attributes):
        """What it sends for a media player in this state."""
        jinja2 = pytest.importorskip("jinja2", reason="jinja2 is not installed: scripts/setup test")
        template = jinja2.Environment().from_string(blueprint(self.NAME)["variables"]["label"])
        return template.render(
            player="media_player.kitchen",
            genres=self.GENRES,
            is_state=lambda _, wanted: state == wanted,
            is_state_attr=lambda _, name, wanted: attributes.get(name) == wanted,
            state_attr=lambda _, name: attributes.get(name),
        ).strip()

    def test_it_sends_the_genre_that_is_written_down(self):
        assert self.label(media_playlist="Sunday Records") == "jazz"
        assert self.label(media_artist="Studio One", media_title="x") == "Reggae"
        assert self.label(media_playlist="Sunday records", media_artist="Studio One") == "jazz"

    def test_it_ends_the_label_where_nothing_known_is_heard(self):
        assert self.label(media_playlist="Unknown") == ""
        assert self.label("paused", media_playlist="Sunday records") == ""
        assert self.label(media_playlist="Sunday records", is_volume_muted=True) == ""
        assert self.label() == ""

    def test_every_input_is_used_and_the_command_is_one_of_the_list(self):
        document = blueprint(self.NAME)
        used = set(re.findall(r"input (\w+)", json.dumps({key: document[key] for key in ("triggers", "variables")})))
        assert used == set(document["blueprint"]["input"])
        (action,) = document["actions"]
        topic = action["data"]["topic"].replace("{{ topic }}", "headnod/kitchen")
        assert topic in command_topics(KITCHEN)


class TestNodeRed:
    flow = json.loads((KITS / "nodered" / "flow.json").read_text())

    def test_every_wire_ends_at_a_node_of_its_tab(self):
        nodes = {node["id"]: node for node in self.flow}
        assert len(nodes) == len(self.flow)
        wired = {end for node in self.flow for output in node.get("wires", []) for end in output}
        assert wired
        assert all(nodes[end]["z"] == "headnod-tab" for end in wired)
        for node in self.flow:
            assert len(node.get("wires", [])) in {0, node.get("outputs", 1)}
            assert node.get("broker") in {None, "headnod-broker", "broker.local"}

    def test_every_topic_is_one_that_a_listener_speaks_on_or_hears(self):
        topics = {node["topic"] for node in self.flow if node["type"] == "mqtt in"}
        assert topics == anybodys(KITCHEN.state, KITCHEN.song, KITCHEN.status, KITCHEN.response("+"))
        assert next(node["topic"] for node in self.flow if node["type"] == "inject") == KITCHEN.request("health")

    def test_every_field_is_in_the_payload_that_reaches_it(self):
        nodes = {node["id"]: node for node in self.flow}
        for start in (node for node in self.flow if node["type"] == "mqtt in" and node["datatype"] == "json"):
            if start["topic"].endswith("response/+"):
                continue
            there = {*payload(start["topic"]), "minutes"}
            way = [start["id"]]
            while way:
                node = nodes[way.pop()]
                used = set(re.findall(r"payload\.(\w+)", json.dumps({k: v for k, v in node.items() if k != "id"})))
                assert used <= there, node["name"]
                way += [end for output in node["wires"] for end in output]


class TestTelegraf:
    def test_every_source_keeps_its_session_and_its_place(self):
        sources = [source for source, *_ in points()]
        assert len({source["client_id"] for source in sources}) == len(sources) == 3
        assert all(source["persistent_session"] and source["qos"] == 1 for source in sources)
        assert {source["topics"][0] for source in sources} == anybodys(KITCHEN.estimate, KITCHEN.song, KITCHEN.health)

    def test_every_point_has_its_listener_its_time_and_scalar_fields(self):
        for _, tags, fields, (time, form) in points():
            assert tags["node"] == "kitchen"
            assert all(isinstance(value, str) for value in tags.values())
            assert all(isinstance(value, str | float | int) for value in fields.values())
            if form == "unix":
                assert isinstance(time, float)
            else:
                assert form == "2006-01-02T15:04:05Z07:00"
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", time)

    def test_the_scores_of_all_labels_become_fields(self):
        _, _, fields, _ = next(points())
        assert {f"scores_{label}" for label in LABELS} <= fields.keys()


class TestFleetCollector:
    kit = tomllib.loads((KITS / "telegraf" / "fleet.conf").read_text())

    def test_every_key_is_one_of_the_payload_and_a_row_has_node_and_time(self):
        (source,) = self.kit["inputs"]["mqtt_consumer"]
        (rules,) = source["json_v2"][0]["object"]
        assert set(rules["included_keys"]) <= payload("estimate").keys()
        assert {rules["timestamp_key"], *rules["tags"]} <= set(rules["included_keys"])
        (parsing,) = source["topic_parsing"]
        (topic,) = source["topics"]
        assert topic == f"$share/collectors/{parsing['topic']}"
        names = dict(zip(parsing["tags"].split("/"), Topics("headnod/eu/042", "a1").estimate.split("/"), strict=True))
        assert (names["node"], names["region"]) == ("a1", "eu")

    def test_outputs_take_what_is_collected(self):
        (source,) = self.kit["inputs"]["mqtt_consumer"]
        assert self.kit["outputs"]["influxdb_v2"][0]["namepass"] == [source["name_override"]]
        commented = (KITS / "telegraf" / "fleet.conf").read_text().partition("# [[outputs.postgresql]]")[2]
        other = tomllib.loads("[[outputs.postgresql]]" + commented.replace("\n# ", "\n"))
        assert "create_hypertable" in other["outputs"]["postgresql"][0]["create_templates"][1]

    def test_two_collectors_share_every_estimate(self, tmp_path):
        shared = "$share/collectors/headnod/+/+/+/estimate"
        with (
            Broker(tmp_path / "broker", durable=False) as broker,
            Subscriber(broker, shared, name="one") as one,
            Subscriber(broker, shared, name="two") as two,
            Subscriber(broker, "nothing", name="listener") as listener,
        ):
            for number in range(20):
                listener.publish(Topics("headnod/eu/042", f"a{number}").estimate, b"%d" % number)
            until(lambda: len(one.on("/estimate")) + len(two.on("/estimate")) == 20)
            both = sorted(map(int, [*one.on("/estimate"), *two.on("/estimate")]))
            assert both == list(range(20))
            assert one.on("/estimate")
            assert two.on("/estimate")


class TestGrafana:
    board = board()

    def test_every_query_asks_for_what_telegraf_writes(self):
        written = {source["name_override"]: (tags, fields) for source, tags, fields, _ in points()}
        for title, query in queries():
            measurement = re.search(r'FROM "(\w+)"', query)[1]
            tags, fields = written[measurement]
            selected, _, rest = query.partition(" FROM ")
            asked = re.findall(r'"(\w+)"', selected)
            assert set(asked) <= fields.keys(), title
            assert asked or "/^scores_/" in selected, title
            assert set(re.findall(r'"(\w+)"', rest)) <= {measurement, *tags}, title

    def test_a_mean_is_asked_of_numbers_only(self):
        written = {source["name_override"]: fields for source, _, fields, _ in points()}
        for _, query in queries():
            for field in re.findall(r'(?:mean|sum|max|percentile)\("(\w+)"', query):
                assert isinstance(written[re.search(r'FROM "(\w+)"', query)[1]][field], float | int)

    def test_panels_lie_side_by_side(self):
        places = set()
        for panel in self.board["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & places, panel["title"]
            assert all(x < 24 for x, _ in cells)
            places |= cells
        assert len({panel["id"] for panel in self.board["panels"]}) == len(self.board["panels"])

    def test_the_variables_that_queries_use_are_there(self):
        there = {variable["name"] for variable in self.board["templating"]["list"]}
        assert {"datasource", "node"} == there
        used = set(re.findall(r"\$\{?(\w+)", json.dumps([panel["targets"] for panel in self.board["panels"]])))
        assert used - there <= {"timeFilter", "__interval", "tag_node", "tag_genre", "col"}


def test_the_largest_message_fits_through_the_broker():
    kit = (KITS / "mosquitto" / "mosquitto.conf").read_text()
    limit = int(re.search(r"^max_packet_size (\d+)", kit, re.MULTILINE)[1])
    told = discovery(info(labels=LABELS, models=tuple(f"genre-0.{n}.0" for n in range(50))), KITCHEN)
    assert max(map(len, told.values())) < limit / 2
    assert len(msgspec.json.encode(payload("info"))) < limit / 2
    assert limit >= LARGEST_BUNDLE + 1024


def test_the_document_names_entities_that_are_announced():
    text = (KITS.parent / "docs" / "homeassistant.md").read_text()
    named = set(ENTITY.findall(text))
    assert "update.kitchen_update" in named
    assert named <= components().keys()
    for shortened in re.findall(r"`…(_\w+)`", text):
        assert f"sensor.kitchen{shortened}" in components()


@pytest.mark.parametrize("document", ["docs/homeassistant.md", "firmware_config/mosquitto/README.md"])
def test_every_link_leads_somewhere(document):
    file = KITS.parent / document
    links = re.findall(r"\]\(([^)#]+)\)", file.read_text())
    assert all((file.parent / link).exists() for link in links)
    assert links or "mosquitto" in document
