"""Time and memory of large batch jobs: imports of products, and an export of all of them.

    python tests/bench/batch_jobs.py --base http://127.0.0.1:9000 --pid $(pgrep -f services.catalog)

Imports `--rows` lines into new products of ten variants each, twice; exports the lot, and imports what was exported.
The memory is that of the catalog's process (`--pid`, on this machine), looked at ten times a second: what it held
before each job, and its peak meanwhile. Half a second after the answer is the most that the times are off.
"""

import argparse
import io
import json
import secrets
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

MEBIBYTE = 1024 * 1024
OF_ONE = 10


class Shop:
    """The API, signed in."""

    def __init__(self, base: str, email: str, password: str) -> None:
        self._base, self._headers = base, {}
        answer = self.call("POST", "/admin/auth/token", {"email": email, "password": password})
        self._headers = {"Authorization": f"Bearer {answer['access_token']}"}

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        headers = {**self._headers, "Content-Type": kind}
        request = urllib.request.Request(self._base + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def upload(self, content: bytes) -> str:
        head = (
            b'--B\r\nContent-Disposition: form-data; name="files"; filename="f.csv"\r\nContent-Type: text/csv\r\n\r\n'
        )
        body = head + content + b"\r\n--B--\r\n"
        key: str = self.call("POST", "/admin/uploads/protected", body, "multipart/form-data; boundary=B")["uploads"][0][
            "key"
        ]
        return key

    def run(self, type_: str, context: dict[str, Any]) -> dict[str, Any]:
        """The job when it is over."""
        job = self.call("POST", "/admin/batch-jobs", {"type": type_, "context": context})["batch_job"]
        while job["status"] not in ("completed", "failed", "canceled"):
            time.sleep(0.25)
            job = self.call("GET", f"/admin/batch-jobs/{job['id']}")["batch_job"]
        if job["status"] != "completed":
            raise SystemExit(f"{type_}: {job['status']} {job['result']}")
        return dict(job)


class Memory:
    """Resident memory of a process while a block runs, in MiB."""

    def __init__(self, pid: int) -> None:
        self._statm, self.before, self.peak = Path(f"/proc/{pid}/statm"), 0.0, 0.0
        self._done = threading.Event()

    def now(self) -> float:
        return int(self._statm.read_text().split()[1]) * 4096 / MEBIBYTE

    def __enter__(self) -> "Memory":
        self.before = self.peak = self.now()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self.peak = max(self.peak, self.now())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def lines(rows: int) -> bytes:
    """A file of new products with ten variants each."""
    uid, text = secrets.token_hex(4), io.StringIO()
    text.write(
        "Product Handle,Product Title,Product Description,Product Status,Product Type,Product Tags,Variant Title,"
        "Variant SKU,Variant Inventory Quantity,Variant Weight,Price EUR,Price USD,Option 1 Name,Option 1 Value,"
        "Image 1 Url\r\n"
    )
    for n in range(rows):
        product, variant = divmod(n, OF_ONE)
        text.write(
            f"bench-{uid}-{product},Product {product} of {uid},{'A text of some length. ' * 8},published,"
            f'Type {product % 20},"bench,tag{product % 50}",Variant {variant},{uid}-{n},10,250,{n % 90 + 10}.50,'
            f"{n % 80 + 10}.99,Size,{variant},https://images.example/{uid}/{product}.png\r\n"
        )
    return text.getvalue().encode()


def measured(shop: Shop, pid: int, name: str, type_: str, context: dict[str, Any]) -> dict[str, Any]:
    """Run a job and say what it took."""
    with Memory(pid) as memory:
        begun = time.perf_counter()
        job = shop.run(type_, context)
        seconds = time.perf_counter() - begun
    print(f"{name}: {seconds:.1f} s, memory {memory.before:.0f} -> {memory.peak:.0f} MiB at its peak", flush=True)
    return job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--pid", type=int, required=True, help="of the catalog's process")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--imports", type=int, default=2)
    parser.add_argument("--email", default="admin@example.com")
    parser.add_argument("--password", default="supersecret")
    given = parser.parse_args()
    shop = Shop(given.base, given.email, given.password)
    for n in range(1, given.imports + 1):
        content = lines(given.rows)
        key = shop.upload(content)
        name = f"import {n} of {given.rows} lines ({len(content) / MEBIBYTE:.1f} MiB)"
        measured(shop, given.pid, name, "product-import", {"fileKey": key})
    job = measured(shop, given.pid, "export of all", "product-export", {})
    result = job["result"]
    print(f"  {result['count']} products, {result['file_size'] / MEBIBYTE:.1f} MiB")
    job = measured(shop, given.pid, "import of what was exported", "product-import", {"fileKey": result["file_key"]})
    print(f"  {job['result']['operations']}")


if __name__ == "__main__":
    main()
