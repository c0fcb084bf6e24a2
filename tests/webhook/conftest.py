import pytest

from tests.webhook.posting import RecordingDoor, Twilio, twilio_settings, web_settings
from webhook.app import create_app


@pytest.fixture
def door() -> RecordingDoor:
    return RecordingDoor()


@pytest.fixture
def twilio(door: RecordingDoor) -> Twilio:
    return Twilio(create_app(web_settings(), twilio_settings(), door))
