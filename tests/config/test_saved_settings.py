"""What was set by MQTT: kept over a restart, and given up when the configuration is changed."""

import pytest
from msgspec.structs import replace

from headnod.config import Config
from headnod.remote_controls import SETTINGS_FILE, InForce, SavedSettings, Settings

PLAIN = Config()
CONFIGURED = replace(PLAIN, mqtt=replace(PLAIN.mqtt, host="broker.lan"))


def changed(config, *, certainty=None, brightness=None):
    listen, leds = config.listen, config.leds
    if certainty is not None:
        listen = replace(listen, threshold=certainty)
    if brightness is not None:
        leds = config.with_brightness(brightness).leds
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


def test_without_a_state_folder_settings_last_as_long_as_the_listener():
    kept = SavedSettings(None)
    kept.save(CONFIGURED, InForce(SET, paused=True))
    assert kept.applied(CONFIGURED).config == SET
