defmodule Krait.TestNode do
  @moduledoc """
  A Krait node for one test: its own name, its own workers, and an inquest at the end.

  After the test the node has been stopped, and the test fails when its exit status was not 0 (or what
  `expect_exit/2` said), when a process that carries its mark is left, or when its output holds a
  sanitizer's report.
  """

  import ExUnit.Assertions
  import ExUnit.Callbacks, only: [on_exit: 1, start_supervised!: 1]

  alias Krait.{Collector, Proc}

  defstruct [:name, :pool, :instance, :os_pid, :collector]

  @type t :: %__MODULE__{
          name: node,
          pool: {atom, node},
          instance: pid,
          os_pid: pos_integer,
          collector: pid
        }

  @doc """
  Starts a node of 2 workers that are ready. Takes all options of `Krait.start_link/1`, and `lines:
  true`: the test gets `{:krait_line, node, level, object, text}` and `{:krait_exit, node, status}`.
  """
  @spec start_node(keyword) :: t
  def start_node(options \\ []) do
    {lines, options} = Keyword.pop(options, :lines, false)
    collector = Collector.start(if lines, do: self())
    options = Keyword.merge(defaults(collector), options)
    name = options[:name]
    on_exit(fn -> inquest(name, collector) end)

    child = Supervisor.child_spec({Krait, options}, id: name, restart: :temporary)
    instance = start_supervised!(child)
    %{os_pid: os_pid} = :krait_node.info(instance)
    pool = {Keyword.get(options, :pool, :default), name}
    %__MODULE__{name: name, pool: pool, instance: instance, os_pid: os_pid, collector: collector}
  end

  @doc "The options that a test's node has unless it says otherwise."
  @spec defaults(pid) :: keyword
  def defaults(collector) do
    [
      name: unique_name(),
      size: 2,
      await_ready: true,
      python: python(),
      pythonpath: [faults()],
      stop_grace: 300,
      stop_timeout: 500,
      log_level: :debug,
      log: Collector.sink(collector)
    ]
  end

  @doc """
  An interpreter that has msgpack, looked for once in a run: the node would find one by itself, but
  some that it tries on the way take their time (a version manager's shims), in every test.
  """
  @spec python() :: String.t()
  def python do
    case :persistent_term.get(__MODULE__, nil) do
      nil ->
        python = Enum.find(candidates(), &msgpack?/1)
        :persistent_term.put(__MODULE__, python)
        python

      python ->
        python
    end
  end

  defp candidates do
    for directory <- ["/usr/bin" | String.split(System.get_env("PATH", ""), ":")],
        path = Path.join(directory, "python3"),
        File.exists?(path),
        do: path
  end

  defp msgpack?(python) do
    match?({_, 0}, System.cmd(python, ["-c", "import msgpack"], stderr_to_stdout: true))
  end

  @doc "Where krait_faults.py and the other misbehaving modules are."
  @spec faults() :: String.t()
  def faults, do: Path.expand("../../../python/tests", __DIR__)

  @spec unique_name() :: node
  def unique_name do
    # An atom per node that a test starts: a few hundred.
    String.to_atom("krait_#{System.pid()}_#{System.unique_integer([:positive])}@127.0.0.1")
  end

  @doc "The test ends this node in its own way; these are the statuses that are then right."
  @spec expect_exit(t, [non_neg_integer | nil]) :: :ok
  def expect_exit(node, statuses), do: Collector.expect(node.collector, statuses)

  @doc "What the node wrote so far: `{level, object, text}`."
  @spec lines(t) :: [{atom, String.t(), String.t()}]
  def lines(node), do: Collector.get(node.collector).lines

  @doc "A signal for a process of this node, by its number: never by its name."
  @spec signal(pos_integer, String.t()) :: :ok
  def signal(os_pid, signal) do
    {_, 0} = System.cmd("kill", ["-" <> signal, to_string(os_pid)], stderr_to_stdout: true)
    :ok
  end

  defp inquest(name, collector) do
    %{status: status, expected: expected, lines: lines} = Collector.get(collector)
    Collector.stop(collector)
    texts = for {_, _, text} <- lines, do: text
    tail = texts |> Enum.take(-30) |> Enum.join("\n")

    assert status in expected,
           "node #{name} ended with status #{inspect(status)}, not #{inspect(expected)}:\n#{tail}"

    reports =
      Enum.filter(texts, &(&1 =~ ~r/(Address|Leak|Thread|Undefined\w*)Sanitizer|runtime error:/))

    assert reports == [], "a sanitizer reported:\n" <> Enum.join(texts, "\n")
    assert Proc.await_none(name) == [], "processes outlived node #{name}"
  end
end
