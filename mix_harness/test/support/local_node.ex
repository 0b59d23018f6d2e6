defmodule Krait.LocalNode do
  @moduledoc "Makes a BEAM a distributed one of this machine, for suites and benchmarks alike."

  @doc "Starts epmd if none answers, then distribution under `NAME@127.0.0.1`."
  @spec start(String.t()) :: :ok
  def start(name) do
    if match?({:error, _}, :net_adm.names(~c"127.0.0.1")) do
      {_, 0} = System.cmd(epmd(), ["-daemon"])
    end

    # Nodes of tests and benchmarks come and go on purpose; that says nothing about the network.
    Application.put_env(:kernel, :prevent_overlapping_partitions, false)
    start(:"#{name}@127.0.0.1", 50)
  end

  # epmd daemonizes before it listens and tells nobody when it does: ask again, for a second at most.
  defp start(name, tries) do
    case Node.start(name, :longnames) do
      {:error, _} when tries > 0 ->
        receive do
        after
          20 -> start(name, tries - 1)
        end

      {:ok, _} ->
        :ok
    end
  end

  defp epmd do
    System.find_executable("epmd") ||
      Path.join([:code.root_dir(), "erts-#{:erlang.system_info(:version)}", "bin", "epmd"])
  end
end
