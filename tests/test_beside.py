"""Beside: work on a thread, told of on the loop."""

import asyncio

from entrepot.beside import Beside


def test_who_waits_is_told_though_the_work_failed():
    async def use():
        loop = asyncio.get_running_loop()
        logged = []
        loop.set_exception_handler(lambda loop, context: logged.append(context["exception"]))
        beside = Beside(loop, "test")
        told = asyncio.Event()

        def run():
            raise MemoryError

        beside.do(run, told.set)
        await asyncio.wait_for(told.wait(), 60)
        await asyncio.sleep(0)
        beside.close()
        return logged

    (error,) = asyncio.run(use())
    assert isinstance(error, MemoryError)
