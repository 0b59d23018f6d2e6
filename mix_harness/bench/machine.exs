defmodule Bench.Machine do
  @moduledoc "Where and with what is measured: what every table must say of itself."

  @root Path.expand("../..", __DIR__)

  def facts(run) do
    %{
      version: @root |> Path.join("VERSION") |> File.read!() |> String.trim(),
      commit: commit(),
      when: DateTime.utc_now() |> DateTime.truncate(:second) |> DateTime.to_iso8601(),
      cores: System.schedulers_online(),
      processor: processor(),
      kernel: "uname" |> word(["-r"]) |> String.split(".") |> Enum.take(2) |> Enum.join("."),
      otp: System.otp_release(),
      elixir: System.version(),
      python: word(run.python, ["-c", "import platform; print(platform.python_version())"]),
      msgpack:
        word(run.python, ["-c", "import msgpack; print('.'.join(map(str, msgpack.version)))"])
    }
  end

  defp commit do
    case System.find_executable("git") do
      nil -> "unknown"
      _ -> word("git", ["-C", @root, "describe", "--always", "--dirty", "--exclude", "*"])
    end
  end

  defp word(program, arguments) do
    case System.cmd(program, arguments, stderr_to_stdout: true) do
      {text, 0} -> String.trim(text)
      _ -> "unknown"
    end
  end

  defp processor do
    case Regex.run(~r/model name\s*: (.*)/, File.read!("/proc/cpuinfo")) do
      [_, name] -> name |> String.replace(~r/\s+/, " ") |> String.trim()
      nil -> "an unnamed processor"
    end
  end

  @doc "The interpreter of all sides: the first that has msgpack, as the node would find it."
  def python do
    candidates = [System.get_env("KRAIT_PYTHON"), "python3", "/usr/bin/python3"]

    Enum.find_value(candidates, fn name ->
      path = name && System.find_executable(name)

      path && match?({_, 0}, System.cmd(path, ["-c", "import msgpack"], stderr_to_stdout: true)) &&
        path
    end) || raise "no Python with msgpack found; set KRAIT_PYTHON"
  end

  @doc "Makes this BEAM a distributed one that nobody but this machine is meant to connect to."
  def distribute do
    Application.put_env(:kernel, :inet_dist_use_interface, {127, 0, 0, 1})
    :ok = Krait.LocalNode.start("bench_#{System.pid()}")
    # What calls by lanes share.
    case Application.ensure_all_started(:krait) do
      {:ok, _} -> :ok
      {:error, _} -> {:ok, _} = :krait_app.start(:normal, [])
    end
  end
end
