"""The MQTT link: `MqttAbove` for devices, `MqttBelow` for gateways, and the settings of both.

session     mqtt_session    connect, subscribe, prove, begin again
connection  mqtt_connection a paho client on the loop's thread, from CONNECT to the loss of its socket
socket      mqtt_socket     TCP, TLS, one read and one write per turn
"""

from cascade.adapters.transports.mqtt_above import MqttAbove
from cascade.adapters.transports.mqtt_below import MqttBelow
from cascade.adapters.transports.mqtt_settings import MqttSettings

__all__ = ["MqttAbove", "MqttBelow", "MqttSettings"]
