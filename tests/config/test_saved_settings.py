"""What was set by MQTT: kept over a restart, and given up when the configuration is changed."""

import pytest
from msgspec.structs import replace

from headnod.clock import Clock
from headnod.config import Config
from headnod.remote_controls import SETTINGS_FILE, InForce, RemoteControls, SavedSettings, Settings
from headnod.testing import ManualClock

PLAIN = Config()
CONFIGURED = replace(PLAIN, mqtt=replace(PLAIN.mqtt, host="broker.lan"))


def changed(config, *, certainty=None, brightness=None):
    listen, leds = config.listen, config.leds
    if certainty is not None:
        listen = replace(listen, threshold=certainty)
    if brightness is not None:
        leds = config.with_lights(brightness=brightness).leds
    return replace(config, listen=listen, leds=leds)


SET = changed(CONFIGURED, certainty=0.9, brightness=0.05)


@pytest.fixture
def kept(tmp_path):
    """Settings of another run: all three were set."""
    SavedSettings(tmp_path).save(CONFIGURED, InForce(SET, paused=True))
    return SavedSettings(tmp_path)


def test_what_was_set_applies_after_a_restart(kept):
    assert kept.applied(CONFIGURED).config == SET
    assert kept.settings.paused


def test_a_threshold_of_zero_is_a_setting_too(tmp_path):
    configured = changed(CONFIGURED, certainty=0.5)
    SavedSettings(tmp_path).save(configured, InForce(changed(configured, certainty=0.0), paused=False))
    assert SavedSettings(tmp_path).applied(configured).config.listen.threshold == 0.0


def test_a_value_that_is_changed_in_the_configuration_goes_before_what_was_set(kept):
    edited = changed(CONFIGURED, brightness=0.7)
    assert kept.applied(edited).config == changed(edited, certainty=0.9)


def test_without_a_broker_nothing_that_was_set_applies(kept):
    assert kept.applied(PLAIN).config == PLAIN


def test_what_is_as_configured_again_is_no_setting(kept, tmp_path):
    kept.save(CONFIGURED, InForce(CONFIGURED, paused=False))
    assert SavedSettings(tmp_path).settings == Settings()


def test_what_did_not_change_is_not_written_again(kept, tmp_path):
    before = (tmp_path / SETTINGS_FILE).stat()
    kept.save(CONFIGURED, InForce(SET, paused=True))
    assert (tmp_path / SETTINGS_FILE).stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"paused": 1}', b'{"certainty": {"value": 2.0, "configured": 0.0}}', b"\xff\xfe"],
)
def test_a_damaged_file_is_one_warning_and_the_configuration(tmp_path, caplog, content):
    (tmp_path / SETTINGS_FILE).write_bytes(content)
    assert SavedSettings(tmp_path).applied(CONFIGURED).config == CONFIGURED
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert SETTINGS_FILE in caplog.text


def test_a_disk_that_cannot_be_written_is_a_warning(tmp_path, caplog):
    (tmp_path / SETTINGS_FILE).mkdir()
    SavedSettings(tmp_path).save(CONFIGURED, InForce(SET, paused=True))
    assert "is lost when the listener ends" in caplog.text


def test_a_disk_that_can_be_written_again_gets_the_settings_within_a_minute(tmp_path, caplog):
    manual = ManualClock()
    kept = SavedSettings(tmp_path, Clock(now=manual.now, monotonic=manual.monotonic))
    (tmp_path / SETTINGS_FILE).mkdir()
    for seconds in (0.0, 59.0, 2.0):
        manual.sleep(seconds)
        kept.save(CONFIGURED, InForce(SET, paused=True))
    assert len(caplog.records) == 1
    (tmp_path / SETTINGS_FILE).rmdir()
    for seconds, there in ((59.0, False), (1.0, True)):
        manual.sleep(seconds)
        kept.save(CONFIGURED, InForce(SET, paused=True))
        assert (tmp_path / SETTINGS_FILE).exists() is there
    assert SavedSettings(tmp_path).applied(CONFIGURED).paused


def test_without_a_state_folder_settings_last_as_long_as_the_listener():
    kept = SavedSettings(None)
    kept.save(CONFIGURED, InForce(SET, paused=True))
    assert kept.applied(CONFIGURED).config == SET


STRIP = replace(CONFIGURED, leds=(replace(PLAIN.leds[0], kind="ws2812"), replace(PLAIN.leds[0], kind="pins")))


def test_the_mode_of_a_strip_is_kept_until_its_configuration_changes(tmp_path):
    SavedSettings(tmp_path).save(STRIP, InForce(STRIP.with_lights(mode="mood"), paused=False))
    assert SavedSettings(tmp_path).applied(STRIP).config == STRIP.with_lights(mode="mood")
    without = replace(STRIP, leds=(replace(PLAIN.leds[0], kind="pins"),))
    assert SavedSettings(tmp_path).applied(without).config == without


def controls_of(config):
    return RemoteControls(lambda _: False, configured=lambda: config, clock=Clock())


def after(controls, in_force):
    for change in controls.take():
        in_force = change(in_force)
    return in_force


def test_lights_that_are_switched_off_and_on_keep_their_brightness():
    controls, before = (
        controls_of(STRIP),
        InForce(STRIP.with_lights(brightness=0.3), paused=False, off=frozenset({"history"})),
    )
    controls.lights(on=False)
    dark = after(controls, before)
    assert (dark.config, dark.off) == (before.config, {"history", "leds", "leds.2"})
    controls.lights(on=True)
    assert after(controls, dark) == before


@pytest.mark.parametrize(("configured", "brightness"), [(0.7, 0.7), (0.0, 0.5)])
def test_lights_without_brightness_are_switched_on_as_configured(configured, brightness):
    controls = controls_of(STRIP.with_lights(brightness=configured))
    controls.lights(on=True)
    assert after(controls, InForce(STRIP.with_lights(brightness=0.0), paused=False)).config.brightness == brightness


def test_brightness_and_effect_are_set_together_and_nothing_else_changes():
    controls, before = controls_of(STRIP), InForce(STRIP, paused=True)
    controls.lights(on=True, brightness=0.9, effect="mood")
    assert after(controls, before) == InForce(STRIP.with_lights(brightness=0.9).with_lights(mode="mood"), paused=True)
