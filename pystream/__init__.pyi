# What type checkers see of the names that __init__.py hands on when they are asked for.
from pystream import client as client
from pystream import compat as compat
from pystream import testing as testing
from pystream.client import AcknowledgeType as AcknowledgeType
from pystream.client import AdminClient as AdminClient
from pystream.client import AdminConfig as AdminConfig
from pystream.client import Consumer as Consumer
from pystream.client import ConsumerConfig as ConsumerConfig
from pystream.client import Producer as Producer
from pystream.client import ProducerConfig as ProducerConfig
from pystream.client import RecordBatch as RecordBatch
from pystream.client import ShareConsumer as ShareConsumer
from pystream.client import ShareConsumerConfig as ShareConsumerConfig
from pystream.client import aio as aio

__version__: str
