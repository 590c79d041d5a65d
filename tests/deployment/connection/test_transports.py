"""Which failures of a call pass, over gRPC and over HTTP."""

from __future__ import annotations

from tritonclient.utils import InferenceServerException

from lung_nodule.deployment.connection import grpc_transport, http_transport
from lung_nodule.deployment.connection.transport import Failure

DEAD = "in ensemble 'mtcnn', Stub process 'mtcnn_postprocess_0_0' is not healthy."
OTHER = "in ensemble 'mtcnn', a diameter must be in mm, from 1 to 200, got 0"


def test_a_dead_model_is_asked_again_and_a_refused_request_is_not() -> None:
    """A watched server restarts where the process of a model has died."""
    for text, failure in ((DEAD, Failure.BUSY), (OTHER, Failure.REFUSED)):
        assert grpc_transport._failure(InferenceServerException(text, status="StatusCode.INTERNAL")) is failure
        assert http_transport._of_status(InferenceServerException(text, status="500")).failure is failure
