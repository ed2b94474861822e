"""Training pictures out of shards, by sha256, each verified when it is read."""

from __future__ import annotations

import hashlib
import io
import os

from PIL import Image

from trainer.data.preprocessing import decoded
from trainer.data.snapshot import Sample
from trainer.data.storage import Storage
from trainer.shards.cache import ShardCache
from trainer.shards.manifest import Manifest, Place, Shard
from trainer.shards.store import ShardStore
from utils.errors import StopRunError
from utils.logs import get_logger

log = get_logger(__name__)


class ShardedImages:
    """The pictures of one manifest: from the cache where it has their shard, else from the store."""

    def __init__(self, manifest: Manifest, store: ShardStore, cache: ShardCache) -> None:
        self._store, self._cache = store, cache
        self._places = {sha256: (shard, place) for shard in manifest.shards for sha256, place in shard.pictures.items()}
        self._storages: dict[str, Storage] = {}  # asked for at each draw, while the picture may be prepared already

    def data(self, sample: Sample) -> bytes:
        """The bytes of the picture, whose sha256 is the sample's. Raises StopRunError when they cannot be had."""
        if sample.sha256 not in self._places:
            raise StopRunError(f"{sample.sha256}: is in no shard of {self._store.url}; train again")
        shard, place = self._places[sample.sha256]
        data = self._from_cache(shard, place)
        if data is not None and hashlib.sha256(data).hexdigest() != sample.sha256:
            log.warning("cached_shard_damaged", file=str(self._cache.file(shard)))
            self._cache.file(shard).unlink(missing_ok=True)  # the next training fetches it again
            data = None
        if data is None:
            data = self._from_store(shard, place)
        if data is not None and hashlib.sha256(data).hexdigest() == sample.sha256:
            return data
        raise StopRunError(
            f"{sample.sha256}: {self._store.url}/{shard.name} is missing or damaged; was it changed, or does another"
            " trainer use this place? Delete the file and train again"
        )

    def open(self, sample: Sample) -> Image.Image:
        try:
            return decoded(self.data(sample), sample.sha256)
        except (OSError, ValueError) as error:
            raise StopRunError(f"{sample.sha256}: cannot be decoded here: {error}") from error

    def storage(self, sample: Sample) -> Storage:
        found = self._storages.get(sample.sha256)
        if found is None:
            found = self._storages[sample.sha256] = Storage.of(io.BytesIO(self.data(sample)), sample)
        return found

    def _from_cache(self, shard: Shard, place: Place) -> bytes | None:
        try:
            descriptor = os.open(self._cache.file(shard), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return os.pread(descriptor, place.size_bytes, place.offset)
        except OSError as error:
            log.warning("cached_shard_unreadable", shard=shard.name, error=str(error))
            return None
        finally:
            os.close(descriptor)

    def _from_store(self, shard: Shard, place: Place) -> bytes | None:
        try:
            return self._store.read_range(shard.name, place.offset, place.size_bytes)
        except FileNotFoundError:
            return None
