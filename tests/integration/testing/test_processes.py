"""Processes of brokers under test: forked, killed, reaped, and none of them left; data directories after a crash."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import pystream
from pystream.common.errors import InvalidConfig
from pystream.testing import BrokerFailed, NotRunning, ProcessBroker, broker
from pystream.testing.data_dir import PREFIX, TemporaryData

SECONDS = 120
ROOT = Path(pystream.__file__).parents[1]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def run(code: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=SECONDS, **options
    )


def ends(pid: int) -> bool:
    """Whether a process ends within some seconds; one that its new parent has not asked how, too."""
    ends_at, pause = time.monotonic() + SECONDS, threading.Event()
    while time.monotonic() < ends_at:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X"):
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        pause.wait(0.02)
    return False


def test_brokers_are_forked_from_one_process_that_runs_no_thread():
    with broker(process=True) as one, broker(process=True) as other:
        assert parent_of(one.pid) == parent_of(other.pid) != os.getpid()
        assert len(list(Path(f"/proc/{parent_of(one.pid)}/task").iterdir())) == 1
        assert parent_of(parent_of(one.pid)) == os.getpid()


def test_a_broker_takes_the_surroundings_that_the_test_has_as_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with broker(process=True):
        pass
    monkeypatch.chdir(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        with broker(process=True) as b:
            assert Path(f"/proc/{b.pid}/cwd").resolve() == tmp_path.resolve()
            limits = Path(f"/proc/{b.pid}/limits").read_text()
            assert f"Max open files            {soft - 1} " in limits
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_environment_of_the_start_is_the_brokers(tmp_path: Path):
    result = run(
        """
        import os, time
        from pystream.testing.fork.child import surround
        surround({"TZ": "Asia/Tokyo", "ONLY": "this"}, sys.argv[1], {})
        print(dict(os.environ), os.getcwd(), time.localtime(0).tm_hour)
        """,
        str(tmp_path),
    )
    assert result.stdout.split("\n")[0] == f"{{'TZ': 'Asia/Tokyo', 'ONLY': 'this'}} {tmp_path} 9", result.stderr


def test_variables_that_python_reads_as_it_starts_make_another_process(monkeypatch: pytest.MonkeyPatch):
    with broker(process=True) as one:
        monkeypatch.setenv("PYTHONHASHSEED", "7")
        with broker(process=True) as other:
            assert parent_of(one.pid) != parent_of(other.pid)
            assert b"PYTHONHASHSEED=7" in Path(f"/proc/{parent_of(other.pid)}/environ").read_bytes()


def test_modules_in_the_tests_directory_are_not_taken_for_those_of_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("asyncio", "sqlite3", "uvloop", "socket"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONHASHSEED", "11")  # another process to fork from
    with broker(process=True) as b:
        assert b.create_topic("t") == "t"


def test_what_a_broker_writes_is_its_log():
    with broker(process=True) as b:
        assert "broker ready" in b.log_tail()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"http://127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(BrokerFailed, match=r"(?s)exit code 1.*broker: .*in use"):
                broker(process=True, metrics_listener=address).__enter__()


def test_a_killed_broker_is_reaped():
    with broker(process=True) as b:
        pid = b.pid
        b.kill()
        assert not Path(f"/proc/{pid}").exists()
        with pytest.raises(NotRunning, match="start"):
            _ = b.pid
        b.kill()
        b.start()
        pid = b.pid
    assert not Path(f"/proc/{pid}").exists()


def test_a_broker_that_somebody_else_kills_is_not_running_and_starts_again():
    with broker(process=True) as b:
        b.create_topic("kept")
        os.kill(b.pid, signal.SIGKILL)
        b._process.wait(time.monotonic() + SECONDS)
        assert not b.is_running
        b.start()
        with pystream.AdminClient(bootstrap_servers=b.bootstrap) as admin:
            assert list(admin.list_topics()) == ["kept"]


def test_a_broker_that_ended_by_itself_fails_the_test_as_it_is_stopped():
    b = broker(process=True).start()
    data_dir = b.data_dir
    os.kill(b.pid, signal.SIGKILL)
    with pytest.raises(BrokerFailed, match=r"(?s)was ended by SIGKILL.*broker ready"):
        b.close()
    assert not data_dir.exists()


def test_brokers_outlive_the_process_they_were_forked_from_and_others_are_forked():
    with broker(process=True) as one:
        os.kill(parent_of(one.pid), signal.SIGKILL)
        one.create_topic("t")
        with broker(process=True) as other:
            assert other.is_running
        with pytest.raises(BrokerFailed, match="the process that could tell"):
            one.stop()
        assert not one.is_running
        one.start()
        with pystream.AdminClient(bootstrap_servers=one.bootstrap) as admin:
            assert list(admin.list_topics()) == ["t"]


def test_interrupting_a_test_run_leaves_its_brokers_to_its_own_end():
    result = run(
        """
        import os, signal
        from pystream.testing import broker
        with broker(process=True) as b:
            try:
                os.killpg(0, signal.SIGINT)
            except KeyboardInterrupt:
                print(b.create_topic("t"))
        """,
        start_new_session=True,
    )
    assert result.stdout == "t\n", result.stderr


@pytest.mark.parametrize("process", [False, True], ids=["in this process", "in its own"])
def test_a_fork_of_the_tests_process_leaves_the_broker_alone(process: bool):
    result = run(
        f"""
        import os
        from pystream.testing import broker, NotRunning
        with broker(process={process}) as b:
            b.create_topic("t")
            child = os.fork()
            if child == 0:
                try:
                    b.stop()
                except NotRunning as error:
                    print(error)
                b.close()
                with broker(process=True) as own:
                    print(own.create_topic("in-the-fork"))
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
            print(b.is_running, b.data_dir.is_dir(), b.create_topic("u"))
        """
    )
    assert "forked from; make a new one\n" in result.stdout, result.stderr
    assert "in-the-fork\n" in result.stdout, result.stderr
    assert "True True u\n" in result.stdout, result.stderr


def test_brokers_that_a_run_leaves_open_end_with_it():
    result = run(
        """
        from pystream.testing import broker
        b = broker(process=True).start()
        print(b.pid, b.data_dir)
        """
    )
    pid, data_dir = result.stdout.split()
    assert (result.returncode, result.stderr) == (0, "")
    assert not Path(f"/proc/{pid}").exists()
    assert not Path(data_dir).exists()


def test_what_a_killed_run_leaves_is_removed_by_the_next(tmp_path: Path):
    code = """
        import os, signal
        from pathlib import Path
        from pystream.testing.data_dir import TemporaryData
        data = TemporaryData(Path(sys.argv[1]))
        print(data.path, flush=True)
        if sys.argv[2] == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
    """
    mine = TemporaryData(tmp_path)
    stranger = tmp_path / f"{PREFIX}stranger"
    stranger.mkdir()
    left = Path(run(code, str(tmp_path), "crash").stdout.strip())
    assert left.is_dir()
    run(code, str(tmp_path), "end")
    assert not left.parent.exists()
    assert mine.path.is_dir()
    mine.remove()
    assert list(tmp_path.iterdir()) == [stranger]


def test_a_broker_in_its_own_process_ends_with_a_killed_run():
    result = run(
        """
        import os, signal
        from pystream.testing import broker
        b = broker(process=True).start()
        with open(f"/proc/{b.pid}/stat") as stat:
            print(b.pid, stat.read().rpartition(")")[2].split()[1], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    pids = [int(word) for word in result.stdout.split()]
    assert len(pids) == 2, result.stderr
    for pid in pids:
        assert ends(pid)


@pytest.mark.parametrize("process", [False, True], ids=["in this process", "in its own"])
def test_names_that_no_setting_has_are_refused_with_the_nearest(process: bool):
    with pytest.raises(InvalidConfig, match=r"num\.partitons; did you mean num\.partitions\?"):
        broker(process=process, num_partitons=3)
    with pytest.raises(InvalidConfig, match="did you mean manual_clock"):
        broker(manual_clok=True)
    with pytest.raises(InvalidConfig, match="no setting quux"):
        broker({"quux": 1}, process=process)
    with pytest.raises(InvalidConfig, match="its `bootstrap`"):
        broker(process=process, listeners="PLAINTEXT://127.0.0.1:9092")
    with pytest.raises(InvalidConfig, match="data_dir"):
        broker(process=process, log_dirs="/tmp/data")
    with broker(process=process) as b:
        b.stop()
        b.settings["num.partitons"] = "3"
        with pytest.raises(InvalidConfig, match=r"num\.partitions"):
            b.start()


@pytest.mark.parametrize("process", [False, True], ids=["in this process", "in its own"])
def test_a_topic_of_a_broker_that_does_not_run_is_an_error_at_once(process: bool):
    b = broker(process=process)
    with pytest.raises(NotRunning, match="start"):
        b.create_topic("t")
    with b:
        b.create_topic("t")
        b.stop()
        with pytest.raises(NotRunning, match="start"):
            b.create_topic("u")
    with pytest.raises(NotRunning, match="closed"):
        b.create_topic("u")
    assert isinstance(NotRunning(), BrokerFailed)


def test_threads_start_brokers_beside_one_another():
    made: list[ProcessBroker] = []

    def start() -> None:
        made.append(broker(process=True).start())

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len({b.pid for b in made}) == 4
    for b in made:
        assert b.create_topic("t") == "t"
        b.close()
