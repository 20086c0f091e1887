// A page in Firefox: node firefox.cjs PUPPETEER FIREFOX WORK ADDRESS ARGUMENT... Prints as JSON what
// the function of the module WORK finds there, and the page's errors.
const [puppeteerPath, executablePath, work, address, ...given] = process.argv.slice(2);
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
    const found = await require(work)(page, until, ...given);
    console.log(JSON.stringify({ ...found, errors }));
  } finally {
    await browser.close();
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
