"""The image of the Dockerfile as compose.yaml runs it: its listener over MQTT, its page, its health and its end."""

import json
import re
import urllib.request
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import soundfile
import yaml

from headnod.resources import demo_clip
from support import container, pulseaudio
from support.mqtt_broker import HOST, Broker, ReservedPort, Subscriber
from support.mqtt_broker import missing as no_broker
from support.pulseaudio import VirtualMicrophone

SERVICE = yaml.safe_load(container.file("compose.yaml").read_text())["services"]["headnod"]
DOCKERFILE = container.file("Dockerfile").read_text()
HEALTH = re.search(r"^HEALTHCHECK .*\n  CMD (.*)$", DOCKERFILE, re.MULTILINE)[1]
LARGEST_MB = 350

here = pytest.mark.skipif(bool(container.missing()), reason=f"not here: {container.missing()}")


def test_compose_uses_what_the_image_has():
    assert f"VOLUME {SERVICE['volumes'][0].partition(':')[2]}\n" in DOCKERFILE
    (port,) = (port.rpartition(":")[2] for port in SERVICE["ports"])
    assert f"EXPOSE {port}\n" in DOCKERFILE


def test_only_what_the_image_needs_is_sent_to_the_build():
    lines = container.file(".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert lines[0] == "*"
    assert {f"!{name}" for line in copied for name in line.split()} == {line for line in lines if line.startswith("!")}


@pytest.fixture(scope="module")
def image():
    container.build()


def as_in_compose():
    """The options of compose.yaml that restrict the container, without its devices."""
    options = [f"--cap-drop={name}" for name in SERVICE["cap_drop"]]
    options += [f"--security-opt={each.replace(':true', '')}" for each in SERVICE["security_opt"]]
    options += [f"--tmpfs={path}" for path in SERVICE["tmpfs"]]
    return [*options, *(["--read-only"] if SERVICE["read_only"] else [])]


@here
@pytest.mark.long
@pytest.mark.usefixtures("image")
def test_the_image_is_small_and_has_neither_root_nor_compiler():
    size = int(container.podman("image", "inspect", container.IMAGE, "--format", "{{.Size}}").stdout)
    assert size < LARGEST_MB * 1e6
    script = (
        "id -u; for each in gcc cc pip pip3; do command -v $each; done; test -w /opt/headnod && echo writable; true"
    )
    found = container.podman("run", "--rm", "--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096", "--network=none",
                             "--entrypoint=sh", container.IMAGE, "-c", script)  # fmt: skip
    assert found.stdout == "10001\n"


@here
@pytest.mark.long
@pytest.mark.usefixtures("image")
def test_commands_run_in_a_read_only_container():
    ended = container.run("check", "--json", options=tuple(as_in_compose()), check=False)
    found = {each["part"]: each["verdict"] for each in map(json.loads, ended.stdout.splitlines())}
    assert (found["runtime"], found["model"], found["disk"]) == ("well", "well", "well")


@here
@pytest.mark.long
@pytest.mark.usefixtures("image")
@pytest.mark.skipif(bool(pulseaudio.missing() or no_broker()), reason="PulseAudio or mosquitto is not installed")
def test_a_listener_with_the_microphone_of_pulseaudio_is_heard_over_mqtt_and_serves_its_page(tmp_path):
    documented = container.file("docs/container.md").read_text()
    command = re.search(r"HEADNOD_MICROPHONE__COMMAND='(\[.*?\])'", documented)[1]
    song, rate = soundfile.read(demo_clip(), dtype="float32")
    soundfile.write(tmp_path / "song.wav", song, rate)
    reserved = ReservedPort()
    variables = SERVICE["environment"] | {
        "HEADNOD_MQTT__HOST": f"{HOST}:{{}}", "HEADNOD_WEB__ADDRESS": HOST, "HEADNOD_WEB__PORT": str(reserved.number),
        "HEADNOD_MICROPHONE__COMMAND": command, "PULSE_SERVER": "unix:/run/pulse/native",
    }  # fmt: skip
    with ExitStack() as stack:
        microphone = VirtualMicrophone(tmp_path / "pulse")
        stack.callback(microphone.close)
        microphone.start()
        for folder in (tmp_path / "pulse", microphone.socket.parent):
            folder.chmod(0o755)
        broker = stack.enter_context(Broker(tmp_path / "broker"))
        subscriber = stack.enter_context(Subscriber(broker))
        variables["HEADNOD_MQTT__HOST"] = f"{HOST}:{broker.port}"
        options = [f"--env={name}={value}" for name, value in variables.items()]
        options.append(f"--volume={microphone.socket.parent}:/run/pulse")
        name = "headnod-test"
        with container.running(name, *as_in_compose(), *options):
            container.until_healthy(name, HEALTH)
            microphone.play(tmp_path / "song.wav")
            subscriber.until(
                lambda message: message.topic.endswith("/estimate") and b'"genre":"metal"' in message.payload, 90.0
            )
            assert {
                message.topic.split("/")[:2][1]
                for message in subscriber.messages
                if message.topic.startswith("headnod/")
            } == {SERVICE["environment"]["HEADNOD_MQTT__NODE"]}
            with urllib.request.urlopen(f"http://{HOST}:{reserved.number}/", timeout=20) as page:
                assert b"headnod" in page.read()
            container.podman("stop", "--time=10", name)
            subscriber.until(lambda message: message.topic.endswith("/status") and message.payload == b"offline", 20.0)
            state = container.podman("inspect", name, "--format", "{{.State.ExitCode}}").stdout
            assert state == "0\n"


@here
@pytest.mark.long
@pytest.mark.usefixtures("image")
@pytest.mark.skipif(bool(container.compose_missing()), reason=f"not here: {container.compose_missing()}")
def test_compose_starts_a_broker_and_a_listener_and_publishes_the_page(tmp_path):
    song, rate = soundfile.read(demo_clip(), dtype="float32")
    soundfile.write(tmp_path / "song.wav", song, rate)
    broker, page = ReservedPort(), ReservedPort()
    # In place of the sound card, which a machine for tests may not have.
    changes = f"""\
services:
  broker:
    ports: !override ["{HOST}:{broker.number}:1883"]
  headnod:
    devices: !reset []
    ports: !override ["{HOST}:{page.number}:8080"]
    volumes: !override ["state:/var/lib/headnod", "{tmp_path}/song.wav:/song.wav:ro"]
    environment:
      HEADNOD_MICROPHONE__COMMAND: '["sh", "-c", "cat /song.wav; exec sleep 600"]'
"""
    with container.composed(tmp_path, changes) as project:
        container.until_healthy(f"{project}_broker_1", "grep -q :075B /proc/net/tcp")
        with ExitStack() as stack:
            subscriber = stack.enter_context(Subscriber(SimpleNamespace(host=HOST, port=broker.number)))
            subscriber.until(
                lambda message: message.topic.endswith("/estimate") and b'"genre":"metal"' in message.payload, 90.0
            )
            container.until_healthy(f"{project}_headnod_1", HEALTH)
            with urllib.request.urlopen(f"http://{HOST}:{page.number}/", timeout=20) as answer:
                assert b"headnod" in answer.read()
