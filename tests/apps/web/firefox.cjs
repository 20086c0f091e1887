// The playground in Firefox: node firefox.cjs PUPPETEER FIREFOX ADDRESS. Prints what was found as JSON.
const [puppeteerPath, executablePath, address] = process.argv.slice(2);
const puppeteer = require(puppeteerPath);

(async () => {
  const browser = await puppeteer.launch({
    browser: "firefox", executablePath, headless: true, defaultViewport: null,
    args: ["--width=1400", "--height=1000"],
  });
  const errors = [];
  try {
    const page = await browser.newPage();
    page.on("pageerror", (error) => errors.push(error.message));
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    await page.goto(address);
    await page.waitForSelector("html[data-ready]", { timeout: 60_000 });
    const until = async (condition) => {
      for (let i = 0; i < 600 && !(await page.evaluate(condition)); i++) {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    };
    await page.click("#run");
    await until("playground.training.now.trainRight > 0.98");
    await page.click("#run");
    const right = await page.evaluate("playground.training.now.trainRight");
    await page.evaluate("scrollTo(0, 0)");
    const box = await (await page.$("#plane")).boundingBox();
    await page.mouse.click(box.x + 100, box.y + 100);
    const point = await page.evaluate("playground.point");
    await page.focus("#plane");
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("Enter");
    const after = await page.evaluate("playground.point");
    await page.click("#copy-python");
    const script = await page.$eval("#copied textarea", (area) => area.value);
    const answers = await page.evaluate(
      "[...playground.training.network.predict(playground.training.sets.train.x, playground.data.train.length)]");
    console.log(JSON.stringify({ right, point, after, script, answers, errors }));
  } finally {
    await browser.close();
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
