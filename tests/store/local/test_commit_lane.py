"""The commit lane of a real directory: after a failure nothing behind it is attempted."""

import asyncio
import errno

from entrepot.store.local.posix_disk import PosixDisk


def test_nothing_behind_a_failed_commit_is_attempted(tmp_path):
    async def run():
        loop = asyncio.get_running_loop()
        disk = PosixDisk(str(tmp_path), loop)
        file = disk.open("a", create=True)
        gone = disk.open("b", create=True)
        gone.close()
        outcomes = [loop.create_future() for _ in range(4)]
        for target, outcome in zip((file, gone, file, file), outcomes, strict=True):
            disk.commit(target, 0, [b"x"], sync=True, done=lambda seconds, error, outcome=outcome: outcome.set_result(error))
        errors = await asyncio.gather(*outcomes)
        assert errors[0] is None
        assert [error.errno for error in errors[1:]] == [errno.EBADF] * 3
        assert file.size() == 1
        disk.close()

    asyncio.run(run())
