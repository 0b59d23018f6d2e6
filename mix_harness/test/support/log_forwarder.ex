defmodule Krait.LogForwarder do
  @moduledoc "A handler of OTP's logger that sends the lines of one node to a process."

  @spec log(:logger.log_event(), :logger.handler_config()) :: :ok
  def log(%{meta: %{krait: node} = meta} = event, %{config: %{to: to, node: node}}) do
    text = event |> :logger_formatter.format(%{template: [:msg], single_line: true})
    send(to, {:log, event.level, meta, IO.chardata_to_string(text)})
    :ok
  end

  def log(_, _), do: :ok
end
