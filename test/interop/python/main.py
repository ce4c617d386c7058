"""Checks the vectors, then makes an app and binds a service to it. Arguments: the vectors, a file that says what to use."""

import importlib
import json
import os
import sys
import time
from pathlib import Path

# The generated modules register their messages when they are imported.
GENERATED = Path(os.environ["OMI_GENERATED"])
sys.path.insert(0, str(GENERATED))
for path in sorted(GENERATED.rglob("*_pb2.py")):
    importlib.import_module(".".join(path.relative_to(GENERATED).with_suffix("").parts))

from vectors import check_vectors
from vendor import Client, Key, Refused, encode, message, open_answer, sign, statement_id

REGISTRY_SERVICE = "omi.registry.v1.RegistryService"
RESOLVER_SERVICE = "omi.registry.v1.ResolverService"
ED25519 = 1
SERVICE_ROLE = 6


class Story:
    def __init__(self, use):
        self.use = use
        self.registry_key = bytes.fromhex(use["registry_key"])
        self.provider = Key(bytes.fromhex(use["provider_seed"]))
        self.master = Key()
        self.service = Key()
        self.client = Client(use["address"])

    def change(self, rpc, key, answer, value):
        """Signs a change, sends it, and opens the answer to it."""
        statement = sign(key, self.use["registry"], value)
        request = message(f"omi.registry.v1.{rpc}Request")(statement=statement)
        signed = self.client.call(REGISTRY_SERVICE, rpc, request).answer
        opened = open_answer(signed, f"omi.registry.v1.{answer}", self.registry_key)
        assert opened.header.in_reply_to == statement_id(statement)
        return opened

    def read(self, rpc, answer, **fields):
        """A fresh read."""
        request = message(f"omi.registry.v1.{rpc}Request")(**fields, nonce=os.urandom(16))
        signed = self.client.call(RESOLVER_SERVICE, rpc, request).answer
        opened = open_answer(signed, f"omi.registry.v1.{answer}", self.registry_key)
        assert opened.header.query == encode(request)
        return opened

    def register(self):
        namespace = f"python{os.urandom(4).hex()}"
        claim = message("omi.registry.v1.NamespaceClaim")(
            public_key=self.master.public, algorithm=ED25519, namespace_claim=namespace
        )
        self.change("ClaimNamespace", self.master, "NamespaceAnswer", claim)
        manifest = message("omi.registry.v1.AppManifest")(
            owner_namespace=namespace, project_slug="shop", display_name="Läden 商店"
        )
        return self.change("RegisterApp", self.master, "AppAnswer", manifest).app.app_id

    def binding(self, app_id, service_id):
        provider, endpoint = self.use["provider"], self.use["endpoint"]
        of_service = {"app_id": app_id, "service_id": service_id, "public_key": self.service.public}
        order = message("omi.agent.v1.ProvisionService")(
            app_id=app_id,
            target_provider=provider,
            provider_key_id=self.provider.id,
            service_type="cms-article",
            service_id=service_id,
            expires_at=int(time.time()) + 600,
        )
        proof = sign(self.master, provider, order)
        endorsement = message("omi.registry.v1.Endorsement")(
            **of_service, endpoint_url=endpoint, proof_id=statement_id(proof)
        )
        possession = message("omi.registry.v1.KeyPossession")(**of_service, role=SERVICE_ROLE, algorithm=ED25519)
        return message("omi.registry.v1.ServiceBinding")(
            **of_service,
            service_type="cms-article",
            endpoint_url=endpoint,
            developer_proof=proof,
            endorsement=sign(self.provider, self.use["registry"], endorsement),
            key_possession=sign(self.service, self.use["registry"], possession),
        )

    def play(self):
        app_id = self.register()
        assert self.read("ResolveApp", "AppAnswer", app_id=app_id).app.master_public_key == self.master.public
        bound = self.change("BindService", self.service, "BindingAnswer", self.binding(app_id, "articles")).service
        read = self.read("ResolveService", "ServiceAnswer", app_id=app_id, service_id="articles").service
        assert read == bound and [key.public_key for key in read.keys] == [self.service.public]
        taken = self.binding(app_id, "articles")
        refused = refusal(lambda: self.change("BindService", self.service, "BindingAnswer", taken))
        unknown = refusal(lambda: self.read("ResolveService", "ServiceAnswer", app_id=app_id, service_id="nobody"))
        return {"appId": app_id, "keyId": self.service.id, "refusals": [refused, unknown]}


def refusal(call):
    try:
        call()
    except Refused as refused:
        return refused.reason
    raise AssertionError("not refused")


vectors_folder, settings = sys.argv[1:]
checked = check_vectors(vectors_folder)
print(json.dumps({"vectors": checked, **Story(json.loads(Path(settings).read_text())).play()}))
