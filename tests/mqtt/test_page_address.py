"""The address of the listener's own page, as Home Assistant links to it."""

import ipaddress
import socket

import pytest

from headnod.config import WebSection
from headnod.factory.mqtt_factory import page_url

ANYWHERE = str(ipaddress.ip_address(0))
HOST = socket.gethostname().partition(".")[0]


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, None),
        ({"address": ANYWHERE}, None),
        ({"enabled": True}, None),
        ({"enabled": True, "address": "::1"}, None),
        ({"enabled": True, "address": "localhost"}, None),
        ({"enabled": True, "url": "https://music.example/"}, "https://music.example/"),
        ({"url": "https://music.example/"}, None),
        ({"enabled": True, "address": "192.0.2.7"}, "http://192.0.2.7:8080/"),
        ({"enabled": True, "address": "2001:db8::7", "port": 80}, "http://[2001:db8::7]:80/"),
        ({"enabled": True, "address": ANYWHERE, "certificate": "page.pem"}, f"https://{HOST}.local:8080/"),
    ],
)
def test_a_page_that_other_machines_reach_has_an_address(settings, url):
    assert page_url(WebSection(**settings)) == url
