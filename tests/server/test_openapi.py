"""The OpenAPI document, and the server held to it by schemathesis."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.server import MODELS, Serve, Served

TESTS = Path(__file__).parent.parent
CHECKS = (
    "no_fault",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


def test_every_operation_has_example_and_errors(served: Served) -> None:
    told = served.get("/openapi.json").json()
    for path, by in told["paths"].items():
        for method, operation in by.items():
            assert operation["summary"], path
            answers = operation["responses"]
            assert {"200", "400", "401", "403", "404", "413", "429", "503"} <= answers.keys(), path
            assert "422" not in answers
            for content in answers["200"]["content"].values():
                assert "schema" in content
            if method == "post":
                assert "requestBody" in operation, path
    schemas = told["components"]["schemas"]
    assert schemas["EmbeddingsBody"]["properties"]["input"]["examples"]


def test_documented_examples_match_responses(served: Served) -> None:
    told = served.get("/openapi.json").json()["paths"]
    body = {"inputs": ["a", "b"]}
    assert served.post("/embed", body).status_code == 200
    example = told["/v1/embeddings"]["post"]["responses"]["200"]["content"]["application/json"]
    answer = served.post("/v1/embeddings", {"model": "fake", "input": "a text"}).json()
    assert answer.keys() == example["example"].keys()
    assert answer["data"][0].keys() == example["example"]["data"][0].keys()


@pytest.mark.slow
def test_server_conforms_to_openapi_document(serve: Serve) -> None:
    """Whatever is sent: no 5xx, no status, content type or form that the document does not tell."""
    source = {"source": "fake:dimension=4,name=schema"}
    models = {"all-MiniLM-L6-v2": source, "ranker": MODELS["ranker"], "rows": MODELS["rows"]}
    served = serve(models, admin_key="admin")
    served.wait_for("healthy")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json"),
            *("--header", "Authorization: Bearer admin"),
            *("--checks", ",".join(CHECKS)),
            *("--phases", "examples,coverage,fuzzing"),
            *("--exclude-path", "/events"),  # it does not end
            *("--max-examples", "40", "--seed", "1", "--no-color", "--continue-on-failure"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "server.schema_checks", "PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert served.get("/livez").status_code == 200
