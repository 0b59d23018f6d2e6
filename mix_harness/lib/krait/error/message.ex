defmodule Krait.Error.Message do
  @moduledoc false
  # One clause for each reason of the contract: what happened, then what to do about it.

  @spec text(term, Krait.pool() | nil) :: String.t()
  def text({:python, %{type: type, message: message} = raised}, _) do
    "Python raised #{type}: #{message}#{traceback(raised)}"
  end

  def text({:no_function, _, _}, _) do
    "there is no such Python module or function. Is the module on the node's Python path " <>
      "(option pythonpath), and the function spelled as in Python?"
  end

  def text({:not_allowed, _, _}, _) do
    "the node does not allow this function: its option allow does not name it, " <>
      "or a part of the name starts with an underscore, which is never callable"
  end

  def text({:timeout, :queue}, _) do
    "no worker came free in time. More workers (option size), shorter calls, or a longer " <>
      "queue_timeout: status/1 tells how long requests wait"
  end

  def text({:timeout, :call}, _) do
    "it ran out of time (option timeout, waiting for a worker included); " <>
      "the worker was taken care of as the node's option abandon says"
  end

  def text({:overloaded, %{queued: queued, limit: limit}}, _) do
    "the queue is full: #{queued} requests wait, the limit is #{limit} (option queue_limit). " <>
      "Try again later, or shed load"
  end

  def text({:worker_exit, %{exit: exit} = death}, _) do
    "the Python worker#{worker(death)} died in the call: #{exit_text(exit)}. " <>
      "It has been replaced; option retry runs a call again that may run twice" <>
      output(Map.get(death, :stderr))
  end

  def text({:circuit_open, ms}, _) do
    "workers keep failing to start, so the node does not try before #{ms} ms have passed. " <>
      "Its log has the traceback; await_ready/2 returns the cause"
  end

  def text({:session_lost, id}, _) do
    "the worker that held session #{inspect(id)} is gone, and the session's state with it: " <>
      "build it again"
  end

  def text({:no_session, id}, _) do
    "there is no session #{inspect(id)}: it never began, or it has ended"
  end

  def text({:deadlock, text}, _) do
    "#{text}: no worker could ever serve this request. Call in the same session (option session), " <>
      "or give the pool more workers (option size)"
  end

  def text({:session_busy, id}, _) do
    "the worker that holds session #{inspect(id)} is busy, and the pool does not let calls wait for it"
  end

  def text({:invalid_checkout_type, type}, _) do
    "there is no checkout of type #{inspect(type)}: it is :anonymous or {:session, id}"
  end

  def text(:not_owner, _) do
    "the lease belongs to another process; only its owner may use it (give_away/2 changes the owner)"
  end

  def text(:lease_closed, _) do
    "the lease has ended: it was checked in, its owner has gone, or its worker was stopped. " <>
      "Check out a new one"
  end

  def text({:bad_request, expected}, _) do
    "the node could not make sense of the request; expected: #{words(expected)}"
  end

  def text({:bad_option, key, expected}, _) do
    "option #{inspect(key)} is unknown or has a wrong value; expected: #{words(expected)}"
  end

  def text({:bad_option, _, _, _} = reason, _), do: from_erlang(reason)

  def text({:unknown_request, name}, _) do
    "the node does not know the request #{inspect(name)}; is it older than this client?"
  end

  def text({:unencodable, where, what}, _) do
    "#{where} cannot go between BEAM and Python: #{words(what)}. " <>
      "Turn it into something that both sides have, such as a map, a list or a binary"
  end

  def text({:too_large, bytes, limit}, _) do
    "#{bytes} bytes are more than the node lets through (#{limit}; options max_request_bytes and " <>
      "max_result_bytes). Pass a file's name or the data in pieces"
  end

  def text({:too_deep, limit}, _) do
    "the term is nested deeper than the node lets through (#{limit}; option max_depth)"
  end

  def text({:start_failed, detail}, _) do
    "the node's workers cannot start: #{words(detail)}"
  end

  def text({:no_worker, id}, _) do
    "there is no worker #{inspect(id)}: workers/1 has the ids of those that there are"
  end

  def text({:no_request, id}, _) do
    "there is no request #{inspect(id)}: it has ended, or never was; Krait.Admin.requests/2 has the ids"
  end

  def text(:cancelled, _), do: "an operator cancelled it"

  def text({:forbidden, verb, role}, _) do
    "this BEAM may not ask for #{verb}: that is for the role #{role}. " <>
      "The node's options admin and watch name the nodes that may"
  end

  def text({:bad_config, text}, _),
    do: "the configuration is wrong, and nothing changed: #{words(text)}"

  def text({:restart_needed, option}, _),
    do: "option #{option} cannot change while the node runs: restart it"

  def text(:resumed, _), do: "the pool was resumed before the last call had finished"

  def text(:paused, _), do: "the pool is paused: resume it"

  def text(:draining, _) do
    "no new requests are taken: the node is stopping, or the pool is drained (resume/1 ends that)"
  end

  def text({:nodedown, node}, _) do
    "there is no connection to #{node}, or it broke in the call. " <>
      if Node.alive?() do
        "Is the node running, and has it the same cookie?"
      else
        "This BEAM is not distributed: start it with --name or --sname, or call Node.start/2"
      end
  end

  def text({:no_node, []}, cluster), do: "cluster #{inspect(cluster)} has no nodes: join/2 adds one"

  def text({:no_node, states}, cluster) do
    "no node of cluster #{inspect(cluster)} can be asked: " <>
      Enum.map_join(states, ", ", fn {{pool, node}, state} -> "#{pool} at #{node} is #{state}" end) <>
      if(Node.alive?(), do: "", else: ". This BEAM is not distributed")
  end

  def text(:noproc, {pool, node}) do
    "node #{node} has no pool #{inspect(pool)}: its option pool names the one it has"
  end

  def text(:noproc, pool) when is_atom(pool) and pool != nil do
    if String.contains?(Atom.to_string(pool), "@"),
      do: text(:noproc, {:default, pool}),
      else:
        "there is no running instance #{inspect(pool)}: start one with register: #{inspect(pool)}"
  end

  def text(:noproc, pool), do: "there is nothing running at #{inspect(pool)}"

  def text({:already_started, pid}, _),
    do: "the registered name is already taken by #{inspect(pid)}"

  def text(reason, _), do: from_erlang(reason)

  # Reasons of a failed start are told by the Erlang side.
  defp from_erlang(reason), do: IO.chardata_to_string(:krait.format_error(reason))

  defp traceback(%{traceback: text}) when is_binary(text) and text != "" do
    "\n\n" <> String.trim_trailing(text)
  end

  defp traceback(_), do: ""

  defp worker(%{worker: worker}), do: " #{words(worker)}"
  defp worker(_), do: ""

  defp exit_text({:exit, status}), do: "exit status #{status}"
  defp exit_text({:signal, signal}), do: "signal #{words(signal)}"
  defp exit_text({:killed, why}), do: "killed, #{words(why)}"
  defp exit_text(other), do: inspect(other)

  defp output(lines) when is_list(lines) and lines != [] do
    "\n\n" <> Enum.map_join(lines, "\n", &words/1)
  end

  defp output(text) when is_binary(text) and text != "" do
    "\n\n" <> String.trim_trailing(text)
  end

  defp output(_), do: ""

  defp words(text) when is_binary(text) do
    if String.valid?(text), do: text, else: inspect(text)
  end

  defp words(other), do: inspect(other)
end
