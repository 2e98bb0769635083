"""What every life begins with, done once in the process that they are forked from: a third of a life's processor time.

A life that is measured must do it by itself: ``make bench`` does not load this module.
"""

import gc

from orchestrator import __version__
from orchestrator.api import application
from orchestrator.api.openapi import openapi_document
from orchestrator.app import http_service
from orchestrator.events.documents.asyncapi import asyncapi_document
from tests.integration.crash import launcher  # noqa: F401 - imported once, before the fork

_openapi, _asyncapi = openapi_document(), asyncapi_document(version=__version__)
setattr(application, "openapi_document", lambda **_how: _openapi)  # noqa: B010 - not exported
setattr(http_service, "asyncapi_document", lambda **_names: _asyncapi)  # noqa: B010 - not exported
gc.collect()
gc.freeze()
