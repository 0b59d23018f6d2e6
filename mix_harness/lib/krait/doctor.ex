defmodule Krait.Doctor do
  @moduledoc """
  What stands between this BEAM and a node, one check after the other.

      iex> Krait.doctor(:"krait@10.0.0.7")
      ok    distribution  this BEAM is me@10.0.0.5, with long names
      ok    resolution    10.0.0.7 is 10.0.0.7
      ok    epmd          answers at 10.0.0.7:4369
      ok    name          krait is there, at port 9100
      ok    port          10.0.0.7:9100 takes connections
      FAIL  cookie        krait@10.0.0.7 does not take this BEAM
                          means: a cookie other than the node's, ...
                          do:    ...

  The node's own side (interpreter, limits, cookie file) is what `krait doctor` checks where it runs;
  `docs/doctor.md` has both lists.
  """

  alias Krait.Doctor.Checks

  # Where what was found begins, behind the word and the check.
  @column 14

  @typedoc """
  One line: what was checked, how it went, what was found, and if it is not well what that means and what to
  do. `:skipped` when an earlier one must be well first.
  """
  @type finding :: %{
          check: atom,
          status: :ok | :warning | :error | :skipped,
          found: String.t(),
          means: String.t() | nil,
          do: String.t() | nil
        }

  @doc """
  Prints the findings; `:ok` if none is an error.
  """
  @spec run(Krait.pool()) :: :ok | :error
  def run(pool) do
    findings = check(pool)
    findings |> Enum.map_join("\n", &text/1) |> IO.puts()
    if Enum.any?(findings, &(&1.status == :error)), do: :error, else: :ok
  end

  @doc """
  The findings themselves.

      iex> findings = Krait.Doctor.check(Krait.Demo)
      iex> Enum.map(findings, & &1.check)
      [:distribution, :resolution, :epmd, :name, :port, :cookie, :version, :pool, :call]
      iex> Enum.all?(findings, & &1.status == :ok)
      true
  """
  @spec check(Krait.pool()) :: [finding]
  def check(pool) do
    {findings, _} = Enum.map_reduce(Checks.all(), {:go_on, start(pool)}, &step/2)
    findings
  end

  @doc """
  A finding as text, a line or three.

      iex> Krait.Doctor.text(%{check: :epmd, status: :ok, found: "answers", means: nil, do: nil})
      "ok    epmd          answers"
  """
  @spec text(finding) :: String.t()
  def text(finding) do
    line = word(finding.status) <> String.pad_trailing("#{finding.check}", @column) <> finding.found
    line <> more("means: ", finding.means) <> more("do:    ", finding.do)
  end

  defp more(_, nil), do: ""
  defp more(word, text), do: "\n" <> String.duplicate(" ", 6 + @column) <> word <> text

  defp word(:ok), do: "ok    "
  defp word(:warning), do: "warn  "
  defp word(:error), do: "FAIL  "
  defp word(:skipped), do: "-     "

  defp start(pool) do
    case address(pool) do
      {:ok, {name, node}} -> %{pool: name, node: node}
      :error -> %{pool: pool, node: nil}
    end
  end

  defp address({name, node}) when is_atom(name) and is_atom(node), do: {:ok, {name, node}}

  defp address(lease) when is_pid(lease) and node(lease) != node(),
    do: {:ok, {:default, node(lease)}}

  defp address(name) do
    if is_atom(name) and String.contains?(Atom.to_string(name), "@"),
      do: {:ok, {:default, name}},
      else: {:ok, Krait.pool(name)}
  catch
    :exit, _ -> :error
  end

  # A check returns {:ok, found, what the next ones need}, {:warning | :error, found, means, do}, or with
  # :stop in front when nothing behind it can be known.
  defp step({check, fun}, {:go_on, context}) do
    case fun.(context) do
      {:ok, found, context} ->
        {finding(check, :ok, found), {:go_on, context}}

      {:stop, found, means, remedy} ->
        {finding(check, :error, found, means, remedy), {:stop, check}}

      {status, found, means, remedy} ->
        {finding(check, status, found, means, remedy), {:go_on, context}}
    end
  end

  defp step({check, _}, {:stop, first} = stop) do
    {finding(check, :skipped, "cannot be known before #{first} is well"), stop}
  end

  defp finding(check, status, found, means \\ nil, remedy \\ nil),
    do: %{check: check, status: status, found: found, means: means, do: remedy}
end
