"""Simulated listeners that publish by MQTT, to test dashboards and brokers."""
