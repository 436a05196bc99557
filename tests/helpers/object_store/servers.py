"""Configure OpenStack Swift on this machine: four servers and their files below one directory.

    python servers.py write ROOT PORT    writes what they need
    python servers.py update ROOT        lists what was written while the container server was gone

By the Python that has `swift` installed. One copy of everything, no limits between servers, and
short timeouts, so that a server that is stopped or killed is felt at once and forgotten at once.
The proxy speaks S3 at PORT; the object, container and account servers listen at the three ports
above.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

STORAGE = ("object", "container", "account")
KEY, SECRET = "test:tester", "ephemeral-secret-4711"

SWIFT = """
[swift-hash]
swift_hash_path_suffix = raymetrics
[storage-policy:0]
name = one
default = yes
"""

DEFAULT = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {root}/etc
devices = {root}/devices
recon_cache_path = {root}
mount_check = false
disable_fallocate = true
workers = 0
user = {user}
log_level = ERROR
"""

STORAGE_SERVER = """
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
[{name}-updater]
concurrency = 1
"""

# The pipeline names filters; those without a line of their own need none.
FILTERS = ("catch_errors", "listing_formats", "bulk", "copy", "slo", "dlo")

PROXY = """
[pipeline:main]
pipeline = catch_errors cache listing_formats bulk s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
error_suppression_limit = 1000000
error_suppression_interval = 1
node_timeout = 2
conn_timeout = 1
[filter:cache]
paste.filter_factory = servers:remembering
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
check_bucket_owner = no
[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin
"""


class Memory:
    """A cache with memcached's interface in the proxy's own memory.

    With the cache, the proxy knows a bucket while the container server is gone.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str, **_: object) -> object:
        return json.loads(self.values.get(key, "null"))

    def set(self, key: str, value: object, **_: object) -> None:
        self.values[key] = json.dumps(value)

    def delete(self, key: str, **_: object) -> None:
        self.values.pop(key, None)


def remembering(_: dict, **__: str) -> Callable:
    """Return the cache as a filter of the proxy's pipeline."""
    memory = Memory()

    def around(app: Callable) -> Callable:
        def remember(environ: dict, start: Callable) -> object:
            environ["swift.cache"] = memory
            return app(environ, start)

        return remember

    return around


def write(root: Path, port: int) -> None:
    """Write the configuration, and rings that place everything on one device."""
    from getpass import getuser

    etc = root / "etc"
    for folder in (etc, root / "devices" / "d1"):
        folder.mkdir(parents=True)
    (etc / "swift.conf").write_text(SWIFT)
    for offset, name in enumerate(("proxy", *STORAGE)):
        text = DEFAULT.format(root=root, port=port + offset, user=getuser())
        if name == "proxy":
            text += PROXY.format(user=KEY.replace(":", "_"), secret=SECRET)
            text += "".join(f"[filter:{f}]\nuse = egg:swift#{f}\n" for f in FILTERS)
        else:
            text += STORAGE_SERVER.format(name=name)
            save_ring(etc / f"{name}.ring.gz", port + offset)
        (etc / f"{name}-server.conf").write_text(text)


def save_ring(path: Path, port: int) -> None:
    """Write a ring of one device, whose server listens at this port."""
    from swift.common.ring import RingBuilder

    ring = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    here = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1"}
    device = {"id": 0, "region": 1, "zone": 1, "weight": 1, "device": "d1", "meta": ""}
    ring.add_dev({**here, **device, "replication_port": port})
    ring.rebalance()
    ring.get_ring().save(str(path))


def update(root: Path) -> None:
    """Run one round of the object updater, with the folder of its files."""
    from swift.common.utils import set_swift_dir
    from swift.obj import updater

    set_swift_dir(str(root / "etc"))
    sys.argv = ["swift-object-updater", str(root / "etc" / "object-server.conf"), "once"]
    updater.main()


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        update(Path(sys.argv[2]))
