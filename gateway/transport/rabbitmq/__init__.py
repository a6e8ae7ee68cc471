"""RabbitMQ transport (chuyển phiếu qua RabbitMQ): the only package that imports pika."""

from gateway.transport.rabbitmq.layout import BrokerReport, QueueReport, look_at_broker, make_layout
from gateway.transport.rabbitmq.transport import RabbitTransport

__all__ = ["BrokerReport", "QueueReport", "RabbitTransport", "look_at_broker", "make_layout"]
