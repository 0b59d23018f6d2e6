defmodule KraitHarness.MixProject do
  use Mix.Project

  # The Elixir face of Krait, its test suites and examples. The Erlang package one directory up is the
  # only dependency; it is built by rebar3 (MIX_REBAR3 names one), which calls make for the node.
  def project do
    [
      app: :krait_ex,
      version: String.trim(File.read!(Path.join(__DIR__, "../VERSION"))),
      elixir: "~> 1.14",
      start_permanent: Mix.env() == :prod,
      elixirc_paths: elixirc_paths(Mix.env()),
      elixirc_options: [warnings_as_errors: true],
      deps: [{:krait, path: "..", manager: :rebar3}]
    ]
  end

  def application do
    [extra_applications: extra_applications(Mix.env())]
  end

  defp extra_applications(:test), do: [:logger, :crypto]
  defp extra_applications(_), do: [:logger]

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_), do: ["lib"]
end
