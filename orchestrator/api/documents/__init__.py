"""The JSON documents that the API answers with; the models are also what ``/openapi.json`` is made from."""
