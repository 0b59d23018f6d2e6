defmodule Krait.Browser do
  @moduledoc "A headless Chromium with one page, for the tests of the status page; see browser.py."

  use GenServer
  import ExUnit.Assertions

  @type t :: pid

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_), do: GenServer.start_link(__MODULE__, nil)

  @doc "Its window: CSS pixels, and whether the user prefers dark colours."
  @spec window(t, pos_integer, pos_integer, keyword) :: :ok
  def window(browser, width, height, options \\ []) do
    mobile = Keyword.get(options, :mobile, false)
    scheme = if options[:dark], do: "dark", else: "light"

    ask(browser, "Emulation.setDeviceMetricsOverride", """
    {"width": #{width}, "height": #{height}, "deviceScaleFactor": 1, "mobile": #{mobile}}
    """)

    ask(browser, "Emulation.setEmulatedMedia", """
    {"features": [{"name": "prefers-color-scheme", "value": "#{scheme}"}]}
    """)

    :ok
  end

  @doc "Opens an address, and returns when the page is there."
  @spec open(t, String.t()) :: :ok
  def open(browser, url) do
    ask(browser, "Page.navigate", ~s({"url": "#{url}"}))
    await(browser, "location.href.startsWith('#{url}') && document.readyState === 'complete'")
  end

  @doc "The value of a JavaScript expression: a string as it is, anything else as JSON."
  @spec eval(t, String.t()) :: String.t()
  def eval(browser, expression), do: ask(browser, "evaluate", expression)

  @doc "Waits until a JavaScript expression is true; the page looks at it at every change of itself."
  @spec await(t, String.t()) :: :ok
  def await(browser, expression, ms \\ 30_000) do
    script = """
    new Promise((resolve, reject) => {
      const look = () => { try { return #{expression} } catch (e) { return false } }
      if (look()) return resolve('true')
      const seen = new MutationObserver(() => look() && done('true'))
      const late = setTimeout(() => done('false'), #{ms})
      const done = value => { seen.disconnect(); clearTimeout(late); resolve(value) }
      seen.observe(document, { subtree: true, childList: true, attributes: true, characterData: true })
      addEventListener('load', () => look() && done('true'))
    })
    """

    unless eval(browser, script) == "true" do
      flunk("never came true: #{expression}\n#{eval(browser, "document.body.innerText")}")
    end

    :ok
  end

  @doc "Presses a key, `Tab` or `Enter` or so."
  @spec press(t, String.t()) :: :ok
  def press(browser, key) do
    codes = %{"Tab" => 9, "Enter" => 13}
    text = if key == "Enter", do: ~s(, "text": "\\r"), else: ""
    code = ~s("key": "#{key}", "code": "#{key}", "windowsVirtualKeyCode": #{codes[key]})
    ask(browser, "Input.dispatchKeyEvent", ~s({"type": "keyDown", #{code}#{text}}))
    ask(browser, "Input.dispatchKeyEvent", ~s({"type": "keyUp", #{code}}))
    :ok
  end

  @doc "What went wrong in the page since it was asked last: exceptions, refused resources."
  @spec complaints(t) :: [String.t()]
  def complaints(browser), do: String.split(ask(browser, "complaints", ""), "\n", trim: true)

  @doc "Writes what the window shows as a PNG."
  @spec screenshot(t, Path.t()) :: :ok
  def screenshot(browser, path) do
    ask(browser, "screenshot", path)
    :ok
  end

  defp ask(browser, method, text) do
    case GenServer.call(browser, {:ask, method, text}, 60_000) do
      {:ok, answer} -> answer
      {:error, why} -> flunk("the browser refused #{method}: #{why}")
    end
  end

  @impl true
  def init(nil) do
    script = Path.join(__DIR__, "browser.py")
    options = [:binary, :exit_status, packet: 4, args: [script]]
    {:ok, Port.open({:spawn_executable, Krait.TestNode.python()}, options)}
  end

  # One at a time, and nobody else has anything to say to it.
  @impl true
  def handle_call({:ask, method, text}, _from, port) do
    Port.command(port, [method, 0, text])

    receive do
      {^port, {:data, "+" <> answer}} -> {:reply, {:ok, answer}, port}
      {^port, {:data, "-" <> why}} -> {:reply, {:error, why}, port}
      {^port, {:exit_status, n}} -> {:stop, :normal, {:error, "it ended with status #{n}"}, port}
    after
      50_000 -> {:stop, :normal, {:error, "no answer"}, port}
    end
  end
end
