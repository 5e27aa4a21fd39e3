"""What a firmware says over its serial line, one application a file: no chip in it.  This list is the only place that names them all."""

from levsha.applications.bare import Bare
from levsha.applications.base import Application, Message, sent
from levsha.applications.chat import Chat
from levsha.applications.image import Image
from levsha.applications.sensor import Sensor
from levsha.applications.vector import Vector

APPLICATIONS: dict[str, type[Application]] = {kind.name: kind for kind in (Bare, Chat, Image, Sensor, Vector)}

__all__ = ["APPLICATIONS", "Application", "Bare", "Chat", "Image", "Message", "Sensor", "Vector", "sent"]
