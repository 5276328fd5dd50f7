"""MQTT: what homes and dashboards subscribe to.

Topics and payloads are the contract (`topics`, `payloads`), written out in
docs/mqtt.md. Nothing here is loaded unless a broker is configured.
"""
