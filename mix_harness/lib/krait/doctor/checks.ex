defmodule Krait.Doctor.Checks do
  @moduledoc false
  # One function for each check, in the order of the way to a first call: who we are, where the node's host
  # is, who knows its port, does it let us in, does it serve.

  @wait 5_000

  @spec all() :: [{atom, (map -> tuple)}]
  def all do
    [
      distribution: &distribution/1,
      resolution: &resolution/1,
      epmd: &epmd/1,
      name: &name/1,
      port: &port/1,
      cookie: &cookie/1,
      version: &version/1,
      pool: &pool/1,
      call: &call/1
    ]
  end

  defp distribution(%{node: nil, pool: instance}) do
    {:stop, "there is no instance #{inspect(instance)} in this BEAM",
     "neither a node's name, which has an @, nor what Krait.start_link/1 has started and registered.",
     "name the node, as in Krait.doctor(:\"krait@127.0.0.1\"), or start the instance."}
  end

  defp distribution(%{node: node} = context) do
    [_, host] = String.split(Atom.to_string(node), "@", parts: 2)
    context = Map.put(context, :host, String.to_charlist(host))
    long? = String.contains?(host, ".")

    cond do
      not Node.alive?() ->
        {:stop, "this BEAM is not distributed", "a BEAM that can reach no node.",
         "start it with --#{if long?, do: "name me@HOST", else: "sname me"}, or call Node.start/2."}

      :net_kernel.longnames() != long? ->
        {:stop,
         "this BEAM is #{node()}, with #{kind(not long?)} names; #{node} is a #{kind(long?)} one",
         "two kinds of names that never meet.",
         "start this BEAM with --#{if long?, do: "name", else: "sname"}, or the node with " <>
           "--#{if long?, do: "sname", else: "name"}."}

      true ->
        {:ok, "this BEAM is #{node()}, with #{kind(long?)} names", context}
    end
  end

  defp kind(true), do: "long"
  defp kind(false), do: "short"

  defp resolution(%{host: host} = context) do
    case :inet.getaddr(host, :inet) do
      {:ok, address} ->
        {:ok, "#{host} is #{:inet.ntoa(address)}", Map.put(context, :address, address)}

      {:error, reason} ->
        {:stop, "#{host} has no address (#{reason})",
         "a host that this machine cannot find: the name in #{context.node} is not in DNS or /etc/hosts.",
         "correct the name, add it to /etc/hosts, or name the node by its address " <>
           "(--name krait@10.0.0.7)."}
    end
  end

  defp epmd(%{address: address} = context) do
    where = "#{:inet.ntoa(address)}:#{epmd_port()}"

    case :gen_tcp.connect(address, epmd_port(), [], @wait) do
      {:ok, socket} ->
        :gen_tcp.close(socket)
        {:ok, "answers at #{where}", context}

      {:error, :econnrefused} ->
        {:stop, "nobody answers at #{where} (refused)",
         "a host where no epmd runs, and so no node under a name.",
         "start the node there: it starts epmd. If both sides use ERL_EPMD_PORT, it must be the same."}

      {:error, reason} ->
        {:stop, "nobody answers at #{where} (#{reason})",
         "a host that is down, or a firewall that drops what goes to epmd's port.",
         "let #{epmd_port()}/tcp through, and the node's port (give it one: --port)."}
    end
  end

  defp name(%{address: address, node: node} = context) do
    [alive, _] = String.split(Atom.to_string(node), "@", parts: 2)

    case :erl_epmd.port_please(String.to_charlist(alive), address) do
      {:port, port, _} ->
        {:ok, "#{alive} is there, at port #{port}", Map.put(context, :port, port)}

      _ ->
        {:stop, "epmd there knows no #{alive}#{known(address)}",
         "a node that does not run, or has another name.",
         "start it with --name #{node}, or use one of the names that epmd knows."}
    end
  end

  defp known(address) do
    case :erl_epmd.names(address) do
      {:ok, [_ | _] = names} -> ", but " <> Enum.map_join(names, ", ", &to_string(elem(&1, 0)))
      _ -> ""
    end
  end

  defp port(%{address: address, port: port} = context) do
    where = "#{:inet.ntoa(address)}:#{port}"

    case :gen_tcp.connect(address, port, [], @wait) do
      {:ok, socket} ->
        :gen_tcp.close(socket)
        {:ok, "#{where} takes connections", context}

      {:error, :econnrefused} ->
        {:stop, "#{where} refuses connections",
         "a node that listens on another address, most often on loopback alone, which is the default.",
         "start it with --listen #{:inet.ntoa(address)}, or call from its own host."}

      {:error, reason} ->
        {:stop, "#{where} does not answer (#{reason})",
         "a firewall that lets epmd through but not the node.",
         "give the node a port (--port #{port}) and let it through."}
    end
  end

  defp cookie(%{node: node} = context) do
    if Node.connect(node) == true do
      {:ok, "#{node} takes this BEAM's", context}
    else
      {:stop, "#{node} does not take this BEAM",
       "a cookie other than the node's, if it speaks the distribution protocol at all: its log says which " <>
         "(wrong cookie, name not taken, too many peers).",
       "give both the same cookie: this BEAM's comes from --cookie or #{cookie_file()}, the node's from " <>
         "--cookie-file, $KRAIT_COOKIE, or its own user's file."}
    end
  end

  defp cookie_file do
    path = Path.join(System.user_home() || "~", ".erlang.cookie")

    case File.stat(path) do
      {:ok, %{mode: mode}} when Bitwise.band(mode, 0o077) != 0 ->
        "#{path} (whose mode should be 0400)"

      {:ok, _} ->
        path

      {:error, reason} ->
        "#{path} (#{reason})"
    end
  end

  defp version(%{node: node} = context) do
    ours = to_string(Application.spec(:krait, :vsn) || "")

    case Krait.status({:krait, node}) do
      {:ok, %{version: version} = status} ->
        context = Map.put(context, :status, status)

        if to_string(version) == ours or ours == "",
          do: {:ok, "the node is #{version}", context},
          else:
            {:warning, "the node is #{version}, this library #{ours}",
             "no fault: requests that one of them does not know answer unknown_request.",
             "let both be of one version when you can."}

      {:error, error} ->
        {:warning, "it does not tell: #{Exception.message(error)}",
         "a node that is no Krait node, or one whose option watch does not name this BEAM.",
         "if it is one of yours, go on."}
    end
  end

  defp pool(%{node: node, pool: pool} = context) do
    case Krait.status({pool, node}) do
      {:ok, %{pools: %{^pool => report}}} -> pool(report, context)
      {:error, %{kind: :noproc}} -> no_pool(context)
      {:error, _} -> {:ok, "not told", context}
    end
  end

  defp pool(%{ready: 0} = report, _) do
    {:error, "no worker is ready (#{report.state})#{last_error(report)}",
     "an interpreter or code that does not start: calls wait, then fail.",
     "read the node's log; run `krait doctor` where the node runs."}
  end

  defp pool(%{state: :running} = report, context) do
    {:ok,
     "#{context.pool} has #{report.ready} of #{report.size} workers ready, #{report.queued} wait",
     context}
  end

  defp pool(%{state: state}, %{pool: pool}) do
    {:warning, "#{pool} is #{state}", "a pool that an operator has stopped for a while.",
     "Krait.resume/1 ends a pause, and a drain."}
  end

  defp last_error(%{last_error: text}) when is_binary(text) and text != "", do: ": " <> text
  defp last_error(_), do: ""

  defp no_pool(%{node: node, pool: pool}) do
    pools =
      case Krait.status({:krait, node}) do
        {:ok, %{pools: pools}} -> ", but " <> Enum.map_join(pools, ", ", &"#{elem(&1, 0)}")
        _ -> ""
      end

    {:stop, "the node has no pool #{pool}#{pools}", "a pool of another name.",
     "name it, as in {:numbers, #{inspect(node)}}."}
  end

  defp call(%{node: node, pool: pool} = context) do
    case Krait.call({pool, node}, "math", "sqrt", [4.0], timeout: @wait) do
      {:ok, 2.0} ->
        {:ok, "Python answers", context}

      {:error, %{kind: :not_allowed}} ->
        {:ok, "answered by the node: its option allow does not name math.sqrt", context}

      {:error, error} ->
        {:error, "math.sqrt(4.0): #{Exception.message(error)}", "what your calls hear, too.",
         "see the pool above, and the node's log."}
    end
  end

  defp epmd_port do
    case System.get_env("ERL_EPMD_PORT") do
      nil -> 4369
      text -> String.to_integer(text)
    end
  end
end
