"""Building kernels: once, however many ask; whatever state the cache is in; with the user's words when it fails."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import textwrap

import pytest

from gateflow.compiler import build as building
from gateflow.compiler import cache, toolchain
from gateflow.compiler.build import build, cache_directory, load
from gateflow.errors import BuildError, CacheWarning

compiler = next((path for name in toolchain.LOOKED_FOR if (path := shutil.which(name))), None)
needs_compiler = pytest.mark.skipif(compiler is None, reason="no C++ compiler on the PATH")

DOUBLED = 'extern "C" int doubled(int a) { return 2 * a; }\n'


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("GATEFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    building._toolchain.cache_clear()
    yield tmp_path / "cache"
    building._toolchain.cache_clear()


@pytest.fixture
def compiler_that(monkeypatch, tmp_path):
    """Make CXX a script that runs these lines, and then the real compiler."""

    def make(lines):
        script = tmp_path / "compiler"
        script.write_text(f'#!/bin/sh\n{textwrap.dedent(lines)}\nexec {compiler} "$@"\n')
        script.chmod(0o700)
        monkeypatch.setenv("CXX", str(script))

    return make


def works(library):
    return load(library).doubled(21) == 42


@needs_compiler
class TestBuild:
    def test_a_second_asking_finds_the_first(self, compiler_that, tmp_path):
        compiler_that(f'echo "$@" >> {tmp_path}/calls')
        library = build(DOUBLED)
        assert works(library)
        calls = (tmp_path / "calls").read_text()
        assert build(DOUBLED) == library
        assert (tmp_path / "calls").read_text() == calls

    def test_whatever_the_result_depends_on_makes_another_library(self, monkeypatch, tmp_path):
        libraries = {build(DOUBLED), build(DOUBLED + "\n"), build(DOUBLED, extra_flags=("-DNAME",))}
        shutil.copytree(building.NATIVE, tmp_path / "native")
        with (tmp_path / "native" / "vector.h").open("a") as header:
            header.write("// changed\n")
        with monkeypatch.context() as patch:
            patch.setattr(building, "NATIVE", tmp_path / "native")
            libraries.add(build(DOUBLED))
        with monkeypatch.context() as patch:
            patch.setattr(building, "cpu_flags", lambda: frozenset({"another_processor"}))
            libraries.add(build(DOUBLED))
        assert len(libraries) == 5

    def test_what_is_kept_is_the_users_alone(self, folder):
        library = build(DOUBLED)
        assert library.with_suffix(".cpp").read_text() == DOUBLED
        for path in (folder, *folder.iterdir()):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        assert not list(folder.glob("*.part"))
        assert not list(folder.glob("*.o"))

    def test_a_text_that_is_no_cpp_is_kept_and_named(self, folder):
        with pytest.raises(
            BuildError, match=r"could not compile .*\.cpp \(exit code 1\):\n.*error: .*nonsense"
        ) as caught:
            build("int f() { return nonsense; }")
        (named,) = (path for path in folder.glob("*.cpp") if str(path) in str(caught.value))
        assert "nonsense" in named.read_text()
        assert not list(folder.glob("*.part"))

    def test_the_headers_are_found(self):
        library = load(build('#include "vector.h"\nextern "C" int width() { return gateflow::lanes<float>; }'))
        assert library.width() in (4, 8, 16)

    def test_warnings_are_errors(self):
        with pytest.raises(BuildError, match="unused-variable"):
            build("void f() { int a; }")

    def test_a_compiler_that_hangs_is_stopped(self, compiler_that, monkeypatch):
        compiler_that('[ "$1" = --version ] || exec sleep 60')
        monkeypatch.setattr(toolchain, "SECONDS", 0.2)
        with pytest.raises(BuildError, match=r"took longer than 0\.2 s to compile"):
            build(DOUBLED)

    def test_twenty_processes_build_once(self, compiler_that, tmp_path):
        compiler_that(f'case "$*" in *" -c "*) echo "$@" >> {tmp_path}/calls;; esac')
        script = f"""
            import os
            from gateflow.compiler.build import build, load
            children = []
            for _ in range(20):
                if not (child := os.fork()):
                    os._exit(0 if load(build({DOUBLED!r})).doubled(21) == 42 else 1)
                children.append(child)
            assert [os.waitpid(child, 0)[1] for child in children] == [0] * 20
        """
        subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)], check=True, timeout=300)
        assert len((tmp_path / "calls").read_text().splitlines()) == 2, "the trial and the kernel"


@needs_compiler
class TestCacheThatIsAmiss:
    @pytest.mark.parametrize("damage", ["truncated", "emptied", "unsigned"])
    def test_a_damaged_library_is_built_again(self, damage):
        library = build(DOUBLED)
        whole = library.read_bytes()
        if damage == "unsigned":
            library.with_suffix(".sha256").unlink()
        else:
            library.write_bytes(whole[: len(whole) // 2 if damage == "truncated" else 0])
        assert build(DOUBLED) == library
        assert library.read_bytes() == whole
        assert works(library)

    @pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EACCES])
    def test_where_nothing_can_be_written_kernels_live_in_a_directory_of_the_process(self, code, folder, monkeypatch):
        write = cache._write

        def refuse(path, text):
            if path.is_relative_to(folder):
                raise OSError(code, os.strerror(code))
            write(path, text)

        monkeypatch.setattr(cache, "_write", refuse)
        with pytest.warns(
            CacheWarning, match=rf"{folder} cannot be used \({os.strerror(code)}\).*set GATEFLOW_CACHE"
        ) as said:
            library = build(DOUBLED)
        assert len(said) == 1
        assert not library.is_relative_to(folder)
        assert works(library)

    def test_a_read_only_cache_gives_what_it_has(self, monkeypatch):
        library = build(DOUBLED)
        monkeypatch.setattr(cache, "_make", lambda *_: pytest.fail("built again"))
        monkeypatch.setattr(cache, "FileLock", lambda *_, **__: pytest.fail("locked"))
        assert build(DOUBLED) == library

    def test_a_disk_that_fills_up_while_compiling_is_no_fault_of_the_text(self, compiler_that, folder):
        compiler_that(f'case "$*" in *{folder}*) echo "x.o: No space left on device" >&2; exit 1;; esac')
        with pytest.warns(CacheWarning, match="No space left on device"):
            assert works(build(DOUBLED))

    def test_no_space_anywhere_is_told(self, compiler_that, folder):
        compiler_that('[ "$1" = --version ] || { echo "No space left on device" >&2; exit 1; }')
        with (
            pytest.warns(CacheWarning, match="No space left"),
            pytest.raises(
                BuildError,
                match=rf"neither in {folder} \(No space .*\) nor in a temporary directory \(No space left on device\)",
            ),
        ):
            build(DOUBLED)

    def test_a_directory_of_another_user_is_not_trusted(self, folder, monkeypatch):
        if os.getuid():
            folder = "/usr"
            monkeypatch.setenv("GATEFLOW_CACHE", folder)
        else:
            folder.mkdir(mode=0o700)
            os.chown(folder, 12345, -1)
        with pytest.warns(CacheWarning, match=rf"{folder} belongs to user \d+, not to user {os.getuid()}"):
            assert works(build(DOUBLED))

    def test_a_directory_that_others_can_write_to_is_not_trusted(self, folder):
        folder.mkdir()
        folder.chmod(0o777)
        with pytest.warns(CacheWarning, match=rf"can be written by other users \(mend it by: chmod 700 {folder}\)"):
            assert works(build(DOUBLED))
        assert not list(folder.iterdir())

    def test_a_library_that_others_can_write_to_is_not_loaded(self):
        library = build(DOUBLED)
        library.chmod(0o666)
        with pytest.raises(BuildError, match="can be written by other users"):
            load(library)

    def test_what_is_no_library_is_told(self, tmp_path):
        text = tmp_path / "kernel.so"
        text.write_text("no library")
        with pytest.raises(BuildError, match=r"kernel\.so cannot be loaded: .*Set GATEFLOW_CACHE"):
            load(text)


@needs_compiler
class TestThreads:
    def test_kernels_and_torch_share_one_openmp(self):
        script = """
            import torch
            from gateflow.compiler.build import TRIAL, build, load
            torch.set_num_threads(2)
            torch.ones(300, 300) @ torch.ones(300, 300) + torch.ones(300, 300).exp()
            assert load(build(TRIAL)).threads(2) == 2
            with open("/proc/self/maps") as maps:
                print(*{line.split()[-1] for line in maps if "libgomp" in line or "omp5" in line or "libomp" in line})
        """
        if not sys.platform.startswith("linux"):
            pytest.skip("libraries of a process are read from /proc")
        run = [sys.executable, "-c", textwrap.dedent(script)]
        found = subprocess.run(run, check=True, capture_output=True, text=True, timeout=300).stdout
        assert len(found.split()) == 1, found

    def test_where_torch_offers_no_openmp_the_compilers_own_is_linked(self, monkeypatch):
        attempts = []

        def load_at_second(library):
            attempts.append(library)
            if len(attempts) == 1:
                raise BuildError("undefined symbol: GOMP_parallel")
            return load(library)

        monkeypatch.setattr(building, "load", load_at_second)
        assert "-fopenmp" in building.toolchain().link

    def test_a_compiler_without_openmp_gets_threads_of_the_standard_library(self, compiler_that):
        compiler_that('case "$*" in *-fopenmp*) echo "error: unsupported option -fopenmp" >&2; exit 1;; esac')
        tools = building.toolchain()
        assert "-DGATEFLOW_STD_THREADS" in tools.flags
        assert "-fopenmp" not in (*tools.flags, *tools.link)
        assert works(build(DOUBLED))


class TestFinding:
    def test_no_compiler(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(BuildError, match=r"none of c\+\+, g\+\+, clang\+\+ is on the PATH. Install g\+\+"):
            building.toolchain()

    def test_a_cxx_that_is_not_there(self, monkeypatch):
        monkeypatch.setenv("CXX", "no-such-compiler -O1")
        with pytest.raises(BuildError, match="CXX names 'no-such-compiler -O1', which is not there"):
            build(DOUBLED)

    @needs_compiler
    def test_a_cxx_may_have_arguments_and_is_looked_at_each_time(self, monkeypatch):
        first = building.toolchain()
        monkeypatch.setenv("CXX", f"{compiler} -DNAME=3")
        assert building.toolchain().command == f"{compiler} -DNAME=3"
        assert load(build('extern "C" int f() { return NAME; }')).f() == 3
        monkeypatch.delenv("CXX")
        assert building.toolchain() == first

    def test_where_kernels_are_kept(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        monkeypatch.setenv("GATEFLOW_CACHE", "~/own")
        assert cache_directory() == tmp_path / "own"
        monkeypatch.delenv("GATEFLOW_CACHE")
        assert cache_directory() == tmp_path / "xdg" / "gateflow"
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert cache_directory() == tmp_path / ".cache" / "gateflow"
