"""Redriving dead letters that fail again at once."""

import json
import os
from types import SimpleNamespace
from unittest.mock import Mock
from uuid import uuid4

import boto3
import pytest

from cli import redrive


def test_a_redrive_ends_although_every_message_returns_to_the_dead_letter_queue_at_once(
    aws: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName=uuid4().hex)["QueueUrl"]
    for _ in range(25):
        sqs.send_message(QueueUrl=url, MessageBody="poison")
    # One queue is used as both, so that no message could return sooner.
    outputs = SimpleNamespace(webhook_queue_url=url, webhook_dead_letter_queue_url=url)
    stack = SimpleNamespace(session=boto3.Session(), endpoint=os.environ["AWS_ENDPOINT_URL"], outputs=outputs)
    monkeypatch.setattr(redrive, "selected_stack", lambda _: stack)

    redrive.redrive(Mock(), as_json=True)

    assert 25 <= json.loads(capsys.readouterr().out)["moved"] < 50
