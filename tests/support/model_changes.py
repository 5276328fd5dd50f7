"""What tests of a listener whose model changes ask it and MQTT."""

import json

from support.listener_process import is_estimate

STABLE, OWN = "headnod/deploy/stable", "headnod/kitchen/deploy"


def decoded(message):
    return json.loads(message.payload)


def until_stage(subscriber, stage, model):
    return decoded(
        subscriber.until(
            lambda message: (
                message.topic == "headnod/kitchen/model"
                and decoded(message)["stage"] == stage
                and decoded(message)["model"] == model
            )
        )
    )


def stages(subscriber):
    return [each["stage"] for each in map(json.loads, subscriber.on("kitchen/model")) if each["model"] == "fixed-2.0.0"]


def of_model(version):
    return lambda said: is_estimate(said) and said["model"] == f"fixed-{version}"
